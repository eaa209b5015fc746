package synapseadmin

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/secret"
)

// A real Synapse accepts the account that is created in the bridge's part of the
// namespace as an administrator, and rejects its earlier token.
func TestTheAdministratorOfSynapseSignsIn(t *testing.T) {
	hs := mxtest.New(t, mxtest.Synapse)
	hs.Start(fmt.Sprintf("id: rocketchat\nurl: null\nas_token: as-token\nhs_token: hs-token\nsender_localpart: rocket.cat\nrate_limited: false\n"+
		"namespaces: {users: [{regex: '^@[^:]+:%s$', exclusive: true}], aliases: [], rooms: []}\n", regexp.QuoteMeta(hs.Name)))
	userID := "@appliance-admin:" + hs.Name
	promote := func(ctx context.Context) error {
		db, err := pgx.Connect(ctx, hs.Database())
		if err != nil {
			return err
		}
		defer func() { _ = db.Close(ctx) }()
		_, err = db.Exec(ctx, "UPDATE users SET admin = 1 WHERE name = $1", userID)
		return err
	}
	status := func(token secret.String) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hs.URL+"/_synapse/admin/v2/users", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	var before secret.String
	for n := range 2 {
		token, err := signInAdmin(t.Context(), hs.URL, userID, secret.New("as-token"), promote)
		if err != nil {
			t.Fatal(err)
		}
		if got := status(token); got != http.StatusOK {
			t.Errorf("with the token: %d", got)
		}
		if n > 0 && status(before) != http.StatusUnauthorized {
			t.Errorf("the earlier token: %d", status(before))
		}
		before = token
	}
	if _, err := signInAdmin(t.Context(), hs.URL, userID, secret.New("another"), promote); err == nil {
		t.Error("signed in with a token of nobody")
	}
}
