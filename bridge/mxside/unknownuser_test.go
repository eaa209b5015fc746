package mxside_test

import (
	"errors"
	"net/http"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Dendrite reports one of our users as unknown while it cannot read its database. That is no
// refusal: the request is retried later, and the user is there afterwards even if the
// homeserver has lost it.
func TestAHomeserverThatDoesNotKnowOurUserIsAskedAgain(t *testing.T) {
	for why, want := range map[string]error{
		"appservice has not registered this user":                               model.ErrUnavailable, // Dendrite
		"Application service has not registered this user (@rc_alice:home.org)": model.ErrUnavailable, // Synapse
		"You don't have permission to redact this event":                        model.ErrForbidden,
	} {
		a := &asked{answers: map[string]func(http.ResponseWriter){"/redact/$m/txn": refuses(http.StatusForbidden, "M_FORBIDDEN", why)}}
		s := sideOf(t, "dendrite", a)
		err := s.Redact(t.Context(), "!r:home.org", ids.MXUser("@rc_alice:home.org"), "$m", "txn")
		if !errors.Is(err, want) || errors.Is(err, model.ErrForbidden) != errors.Is(want, model.ErrForbidden) {
			t.Errorf("%s: %v, want %v", why, err, want)
		}
		if again := a.was("POST /_matrix/client/v3/register"); again != errors.Is(want, model.ErrUnavailable) {
			t.Errorf("%s: registered again: %t", why, again)
		}
	}
}
