package bootstrap_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
	"appliance/provision/bootstrap"
)

// server starts a Rocket.Chat, polite or not, that has the bridge's account.
func server(t *testing.T, token string, polite bool) *rctest.Server {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	srv := &rctest.Server{Polite: polite, Env: map[string]string{"INITIAL_USER": fmt.Sprintf(
		`{"_id":"rcmxbridge0000001","username":"matrix-bridge","name":"Matrix bridge","type":"bot","active":true,"roles":["bot","admin"],`+
			`"services":{"resume":{"loginTokens":[{"type":"personalAccessToken","name":"bridge","createdAt":"2020-01-01T00:00:00.000Z",`+
			`"lastTokenPart":"abc123","hashedToken":%q,"bypassTwoFactor":true}]}}}`, base64.StdEncoding.EncodeToString(sum[:]))}}
	srv.Start(t)
	return srv
}

func accounts(admin, token string) bootstrap.Accounts {
	return bootstrap.Accounts{
		BridgeUserID: "rcmxbridge0000001", BridgeToken: secret.New(token),
		AdminName: admin, AdminEmail: admin + "@example.org", AdminPass: secret.New("Correct-horse-9"),
	}
}

func TestTheAdministratorIsMadeOnceWhateverHappensToTheAnswers(t *testing.T) {
	srv := server(t, "token", false)
	srv.LoseNext("POST /api/v1/users.create")
	var asked [2]int
	for i := range asked {
		if err := bootstrap.Run(t.Context(), srv.URL, accounts("boss", "token")); err != nil {
			t.Fatal(err)
		}
		asked[i] = srv.Count("POST /api/v1/users.create")
	}
	if asked[0] == 0 || asked[1] != asked[0] {
		t.Errorf("asked to make the administrator %d times, then %d times more", asked[0], asked[1]-asked[0])
	}
}

func TestAnAdministratorWhoExistsIsLeftAlone(t *testing.T) {
	srv := server(t, "token", false)
	if err := bootstrap.Run(t.Context(), srv.URL, accounts(rctest.AdminName, "token")); err != nil {
		t.Fatal(err)
	}
	if n := srv.Count("POST /api/v1/users.create"); n != 0 {
		t.Errorf("%d users made", n)
	}
}

func TestAUserWithoutTheRoleIsNoAdministrator(t *testing.T) {
	srv := server(t, "token", false)
	srv.CreateUser("boss")
	err := bootstrap.Run(t.Context(), srv.URL, accounts("boss", "token"))
	if err == nil || !strings.Contains(err.Error(), "boss is not an administrator") {
		t.Errorf("%v", err)
	}
}

func TestAnUnknownTokenSaysWhatToDo(t *testing.T) {
	srv := server(t, "token", true)
	_, err := bootstrap.Missing(t.Context(), srv.URL, accounts("boss", "another"))
	unknown, ok := errors.AsType[*bootstrap.TokenError](err)
	if !ok || !strings.Contains(unknown.Hint(), "secrets/bridge/rocketchat_token") || strings.Contains(err.Error(), "another") {
		t.Errorf("%v", err)
	}
}

func TestANewPasswordOfTheAdministratorSignsIn(t *testing.T) {
	srv := server(t, "token", false)
	want := accounts(rctest.AdminName, "token")
	if signsIn(t, srv, want) {
		t.Fatal("the password signs in before it is set")
	}
	if err := bootstrap.ResetPassword(t.Context(), srv.URL, want); err != nil {
		t.Fatal(err)
	}
	if !signsIn(t, srv, want) {
		t.Error("the new password does not sign in")
	}
}

// signsIn reports whether the administrator's password is accepted. It retries until the
// server decides: an impolite one closes connections and makes clients wait.
func signsIn(t *testing.T, srv *rctest.Server, as bootstrap.Accounts) bool {
	t.Helper()
	client := rocketchat.New(srv.URL, as.BridgeUserID, as.BridgeToken)
	for {
		_, err := client.Login(t.Context(), as.AdminName, as.AdminPass)
		if status := rocketchat.Status(err); err == nil || status == http.StatusUnauthorized {
			return err == nil
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
