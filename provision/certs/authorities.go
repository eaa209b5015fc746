package certs

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Authorities reads certificates in PEM; without a file there are none.
func Authorities(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = fmt.Errorf("%s holds no certificate in PEM", name)
	}
	return data, err
}
