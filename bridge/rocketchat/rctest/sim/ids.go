package sim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// idLetters is Meteor's alphabet: no 0, 1, O, I, l (facts 0, conventions).
const idLetters = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz"

// newID returns a Meteor random id of 17 letters.
func newID() string { return randomLetters(17) }

// newObjectID returns an id as the database generates it: 24 hex digits. Rooms,
// subscriptions, messages, files and integrations have such ids; users do not.
func newObjectID() string {
	b := make([]byte, 12)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// newToken returns a login token, 43 letters as Meteor's Random.secret.
func newToken() string { return randomLetters(43) }

func randomLetters(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = idLetters[int(b[i])%len(idLetters)]
	}
	return string(b)
}

// hashToken returns what Meteor stores of a login token (facts 1.2).
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// digest is the lower-case hex sha256 that clients send instead of a password.
func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}
