package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"appliance/bridge/secret"
)

// OperatorToken is the bearer token with which an operator may read the bridge's status
// and retry dead letters. It is derived from the token of the bridge's Rocket.Chat
// account, which only the bridge and the operator of its host have: other containers can
// reach the bridge's port but do not have it.
func OperatorToken(rocketchat secret.String) secret.String {
	mac := hmac.New(sha256.New, []byte(rocketchat.Reveal()))
	mac.Write([]byte("operator of the bridge"))
	return secret.New(hex.EncodeToString(mac.Sum(nil)))
}
