package secrets

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
)

// token is 64 letters and digits: about 380 bits, and safe in every file format.
func token() (string, error) {
	return random(64, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
}

// password is for people: 24 characters that are hard to confuse, about 130 bits.
func password() (string, error) {
	return random(24, "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789")
}

// keyfile is how the members of a MongoDB replica set authenticate to each other.
func keyfile() (string, error) {
	raw := make([]byte, 756)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

func random(n int, alphabet string) (string, error) {
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		out[i] = alphabet[k.Int64()]
	}
	return string(out), nil
}

// matrixKey is the homeserver's signing key in Dendrite's format: the seed of an
// Ed25519 key with its id in the header.
func matrixKey() (string, error) {
	id, err := random(6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
	if err != nil {
		return "", err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block := &pem.Block{Type: "MATRIX PRIVATE KEY", Headers: map[string]string{"Key-ID": "ed25519:" + id}, Bytes: key.Seed()}
	return string(pem.EncodeToMemory(block)), nil
}

// SynapseKey translates a signing key from Dendrite's format to Synapse's.
func SynapseKey(dendrite string) (string, error) {
	block, _ := pem.Decode([]byte(dendrite))
	if block == nil || len(block.Headers["Key-ID"]) < len("ed25519:x") {
		return "", fmt.Errorf("secret %s is not a Matrix signing key", MatrixKey)
	}
	version := block.Headers["Key-ID"][len("ed25519:"):]
	return fmt.Sprintf("ed25519 %s %s\n", version, base64.RawStdEncoding.EncodeToString(block.Bytes)), nil
}
