package rctest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Expect is what servers of a version do where versions differ: everything that
// tests know of it is in this one table, and each test asks for what it needs.
type Expect struct {
	Version string // as /api/info says it

	// TokenSecret: users.createToken refuses who does not know the secret.
	TokenSecret bool
	// TokenPermission: users.createToken refuses who may not make tokens for others,
	// also with the secret.
	TokenPermission bool
	// Limiter: the limiter of REST stops people who call too often.
	Limiter bool
	// OthersConfirm: rooms.mediaConfirm lets people post what another user uploaded.
	OthersConfirm bool
	// FileNameInConfirm: rooms.mediaConfirm takes a name for the file.
	FileNameInConfirm bool
	// StrangerIsOneself: a direct room with an unknown user is one with oneself.
	StrangerIsOneself bool
	// Bans: people can be banned from rooms.
	Bans bool
	// NoteOfInvited is the type of the message in a channel about who was invited.
	NoteOfInvited string
	// ArchivedIsHidden: rooms.info refuses to tell of a room that is archived.
	ArchivedIsHidden bool
}

// changes says since when what is so. What a newer server does beyond the last row
// is not known: it is expected to do what the last one does.
var changes = []struct {
	since release
	apply func(*Expect)
}{
	{release{7, 2}, func(e *Expect) {
		e.NoteOfInvited = "uj"
		e.TokenPermission = true
		e.OthersConfirm = true
		e.ArchivedIsHidden = true
	}},
	{release{7, 9}, func(e *Expect) { e.Limiter = true }},
	{release{8, 0}, func(e *Expect) { e.TokenSecret, e.TokenPermission = true, false }},
	{release{8, 3}, func(e *Expect) { // seen; when between 7.2 and 8.3 it changed is not known
		e.FileNameInConfirm = true
		e.OthersConfirm = false
		e.StrangerIsOneself = true
		e.NoteOfInvited = "au"
		e.Bans = true
	}},
	{release{8, 6}, func(e *Expect) {
		e.ArchivedIsHidden = false
		e.TokenPermission = true
	}},
	{release{8, 8}, func(*Expect) {}},
}

// A release is a major and a minor version.
type release [2]int

func (r release) before(other release) bool {
	return r[0] < other[0] || r[0] == other[0] && r[1] < other[1]
}

// expectation is the table's answer for a version such as "8.6.1" or "7.2".
func expectation(version string) (Expect, error) {
	var r release
	if _, err := fmt.Sscanf(version, "%d.%d", &r[0], &r[1]); err != nil {
		return Expect{}, fmt.Errorf("%q is no version of Rocket.Chat", version)
	}
	if oldest := changes[0].since; r.before(oldest) {
		return Expect{}, fmt.Errorf("the tests know nothing of Rocket.Chat %s: the oldest is %d.%d", version, oldest[0], oldest[1])
	}
	e := Expect{Version: version}
	for _, c := range changes {
		if !r.before(c.since) {
			c.apply(&e)
		}
	}
	return e, nil
}

// realExpect asks the real server once in a process.
var realExpect = sync.OnceValues(func() (Expect, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realURL()+"/api/info", nil)
	if err != nil {
		return Expect{}, err
	}
	var info struct {
		Version string `json:"version"`
	}
	err = rest{realURL()}.retry(ctx, func() (*http.Request, error) { return req, nil }, Person{}, &info)
	if err != nil {
		return Expect{}, fmt.Errorf("ask %s for its version: %w", realURL(), err)
	}
	return expectation(info.Version)
})
