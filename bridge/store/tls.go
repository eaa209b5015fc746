package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	hintAuthority = "name the file with the authority of its certificate: bridge_database_ca_file among the answers, or sslrootcert in the address"
	hintPlain     = "turn TLS on in the server (ssl=on), or ask for none in the address: sslmode=disable"
	hintTLS       = "ask for TLS in the address: sslmode=verify-full, with the authority of its certificate as sslrootcert"
)

// examineAuthorities refuses a PostgreSQL address whose file of certificate authorities
// cannot be used. Other mistakes in an address show later.
func examineAuthorities(dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil //nolint:nilerr // refused by who reads the whole of it
	}
	file := u.Query().Get("sslrootcert")
	if file == "" || file == "system" {
		return nil
	}
	name := strings.TrimPrefix(u.Path, "/") + " on " + u.Hostname()
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return refused(hintAuthority, "%s: its authorities cannot be read: %v", name, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return refused(hintAuthority, "%s: %s holds no certificate in PEM", name, file)
	}
	return nil
}

// explainedTLS is explained for problems with the encryption of a connection, or nil if
// the error is not one of those.
func explainedTLS(name string, err error) error {
	_, failed := errors.AsType[*pgconn.ConnectError](err)
	if !failed {
		return nil
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		if e.Code == "28000" && strings.HasSuffix(e.Message, "no encryption") { // no pg_hba.conf line for a connection without TLS
			return refused(hintTLS, "%s takes no connections without TLS: %s", name, e.Message)
		}
		return nil
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return refused("use a name of its certificate in the address", "%s has a certificate for another name: %v", name, e)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return refused("give the server a valid certificate", "%s has a certificate that is not valid: %v", name, e)
	}
	unknown, ok := errors.AsType[x509.UnknownAuthorityError](err)
	if ok {
		return refused(hintAuthority, "%s has a certificate that is not from the authorities that this bridge trusts: %v", name, unknown)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return refused(hintAuthority, "%s has a certificate that cannot be verified: %v", name, e.Err)
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return refused(hintPlain, "%s has no TLS, and the address asks for it", name)
	}
	return nil
}
