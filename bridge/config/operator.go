package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"appliance/bridge/secret"
)

// OperatorToken is what an operator shows the bridge, as a bearer token, to read its
// status and to try again what was given up. It follows from the token of the
// bridge's account in Rocket.Chat, which nobody but the bridge and the operator of
// its host has: other containers reach the bridge's port and do not have it.
func OperatorToken(rocketchat secret.String) secret.String {
	mac := hmac.New(sha256.New, []byte(rocketchat.Reveal()))
	mac.Write([]byte("operator of the bridge"))
	return secret.New(hex.EncodeToString(mac.Sum(nil)))
}
