package model

import "strings"

// Reasons are why items become dead letters, in few words: what Reason returns.
var Reasons = []string{
	"too_large", "account_gone", "limit", "not_in_room", "refused", "forbidden", "not_found", "unavailable", "unknown_kind", "other",
}

// Reason puts the stored cause of a dead letter into one of Reasons. The cause is a text:
// the error that it was has gone with the process.
func Reason(cause string) string {
	for _, r := range []struct{ words, reason string }{ // the narrower ones first
		{"the file is too large", "too_large"},
		{"the account is gone", "account_gone"},
		{"the limit is reached", "limit"},
		{"the person is not in the direct room", "not_in_room"},
		{ErrRefused.Error(), "refused"},
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
