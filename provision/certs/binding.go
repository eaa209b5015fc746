package certs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/acme"
)

// A Binding ties the new ACME account to one that the operator already has with the authority
// (RFC 8555, section 7.3.4).
type Binding struct {
	KeyID    string `yaml:"key_id"`
	HMACFile string `yaml:"hmac_file"` // holds the key, in base64 as authorities give it out
}

// An ExposedError says that other users can read a file that holds a secret.
type ExposedError struct{ File string }

func (e *ExposedError) Error() string { return e.File + " holds a secret and can be read by others" }

// Hint says what to do.
func (e *ExposedError) Hint() string { return "restrict it with: chmod 600 " + e.File }

// ReadHMAC reads a file with an HMAC key. Only its owner may be able to read it.
func ReadHMAC(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, &ExposedError{File: name}
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	if _, err := decodeHMAC(data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func decodeHMAC(data []byte) ([]byte, error) {
	text := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(strings.TrimSpace(string(data)), "="))
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(key) == 0 {
		return nil, errors.New("holds no key in base64")
	}
	return key, nil
}

// binding returns the external account to bind the ACME account to, or nil if there is none.
func (c Config) binding() (*acme.ExternalAccountBinding, error) {
	if c.EAB == nil {
		return nil, nil
	}
	data, err := ReadHMAC(c.EAB.HMACFile)
	if err != nil {
		return nil, fmt.Errorf("external account: %w", err)
	}
	key, err := decodeHMAC(data)
	return &acme.ExternalAccountBinding{KID: c.EAB.KeyID, Key: key}, err
}
