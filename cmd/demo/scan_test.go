package main

import (
	"strings"
	"testing"
)

// A secret is found wherever it is, even across the boundary between two reads.
func TestASecretIsFoundAcrossPieces(t *testing.T) {
	const secret = "correct horse battery staple"
	for _, at := range []int{0, 1<<20 - 7, 1 << 20, 1<<20 + len(secret) - 3, 3 << 20} {
		s := &searched{forbidden: map[string]string{"the passphrase": secret}}
		text := strings.Repeat("x", at) + secret + strings.Repeat("y", 4<<20-at)
		if err := s.in("a log", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if len(s.found) != 1 || s.found[0].Error() != "a log shows the passphrase" {
			t.Errorf("at %d: found %v", at, s.found)
		}
	}
	s := &searched{forbidden: map[string]string{"the passphrase": secret}}
	if err := s.in("a log", strings.NewReader(strings.Repeat(secret[:20], 200_000))); err != nil || len(s.found) > 0 {
		t.Errorf("found %v, %v where there is none", s.found, err)
	}
}
