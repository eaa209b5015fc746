package rctest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Expect describes how servers of a version behave where versions differ: all that
// tests know about it is in this one table, and each test looks up what it needs.
type Expect struct {
	Version string // as in /api/info

	// TokenSecret: users.createToken refuses callers who do not know the secret.
	TokenSecret bool
	// TokenPermission: users.createToken refuses callers who may not create tokens
	// for others, even with the secret.
	TokenPermission bool
	// Limiter: the REST rate limiter stops people who call too often.
	Limiter bool
	// OthersConfirm: rooms.mediaConfirm lets people post what another user uploaded.
	OthersConfirm bool
	// FileNameInConfirm: rooms.mediaConfirm accepts a name for the file.
	FileNameInConfirm bool
	// StrangerIsOneself: a direct room with an unknown user is one with oneself.
	StrangerIsOneself bool
	// Bans: people can be banned from rooms.
	Bans bool
	// NoteOfInvited is the type of the channel message about an invited user.
	NoteOfInvited string
	// ArchivedIsHidden: rooms.info refuses to describe an archived room.
	ArchivedIsHidden bool
}

// changes lists which release changed what. How servers newer than the last row
// behave is not known: they are expected to behave like it.
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
	{release{8, 3}, func(e *Expect) { // observed; changed at an unknown point between 7.2 and 8.3
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

// expectation evaluates the table for a version such as "8.6.1" or "7.2".
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

// realExpect queries the real server once per process.
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
