package model

import "strings"

// Reasons lists the short reasons for dead letters that Reason returns.
var Reasons = []string{
	"too_large", "account_gone", "limit", "not_admitted", "not_in_room", "refused", "forbidden", "not_found", "unavailable", "unknown_kind", "other",
}

// Reason classifies the stored cause of a dead letter as one of Reasons. The cause is
// text: the error itself was lost with the process.
func Reason(cause string) string {
	for _, r := range []struct{ words, reason string }{ // the more specific ones first
		{"the file is too large", "too_large"},
		{"the account is gone", "account_gone"},
		{"the limit is reached", "limit"},
		{"not admitted to the room", "not_admitted"},
		{"the person is not in the direct room", "not_in_room"},
		{ErrRefused.Error(), "refused"},
		{ErrUnclear.Error(), "refused"},
		{ErrForbidden.Error(), "forbidden"},
		{ErrNotFound.Error(), "not_found"},
		{ErrSlow.Error(), "unavailable"},
		{ErrUnavailable.Error(), "unavailable"},
		{"kind of event", "unknown_kind"},
	} {
		if strings.Contains(cause, r.words) {
			return r.reason
		}
	}
	return "other"
}
