package certs

import (
	"fmt"
	"strings"
	"time"
)

// A RefusedError says that an authority refused a certificate, in its own words.
type RefusedError struct {
	Host, Directory string
	Problem         Problem
	RetryAt         time.Time // zero when the authority did not say
	Earlier         bool      // it said so in an earlier attempt, and it is not yet time to ask again
	Cause           error
}

func (e *RefusedError) Error() string {
	detail := e.Problem.Detail
	if detail == "" && e.Cause != nil {
		detail = e.Cause.Error()
	}
	if e.Earlier {
		return fmt.Sprintf("the certificate authority asked to wait until %s before asking again for %s: %s", e.RetryAt.UTC().Format(time.RFC3339), e.Host, detail)
	}
	if e.Problem.Type == "" {
		return fmt.Sprintf("no certificate for %s: the authority cannot be asked: %s", e.Host, detail)
	}
	return fmt.Sprintf("no certificate for %s: the authority says: %s", e.Host, detail)
}

func (e *RefusedError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *RefusedError) Hint() string {
	kind := e.Problem.Type[strings.LastIndex(e.Problem.Type, ":")+1:]
	switch {
	case kind == "rateLimited" && !e.RetryAt.IsZero():
		return "wait until " + e.RetryAt.UTC().Format(time.RFC3339) + " and run again: appliance up"
	case kind == "externalAccountRequired":
		return "this authority requires external account binding: set acme_eab_key_id and acme_eab_hmac_file to what it gave you, and run again: appliance up"
	case aboutAccount(e.Problem.Detail):
		return "compare acme_eab_key_id and the key in acme_eab_hmac_file with what the authority gave you, and run again: appliance up"
	case kind == "connection", kind == "unauthorized":
		return "port 80 of " + e.Host + " must reach this host from the internet: check the DNS records (A and AAAA), the firewall and any proxy in between"
	case kind == "dns":
		return "create DNS records for " + e.Host + " that point to this host, and wait until they have propagated"
	case kind == "caa":
		return "a CAA record of " + e.Host + " forbids this authority: change the record or acme_directory"
	case kind == "rejectedIdentifier":
		return "this authority does not serve " + e.Host + ": use another name, another acme_directory, or tls: internal"
	case e.Problem.Type == "":
		return "check that this host reaches " + e.Directory + " and trusts it (acme_ca_file), then run again: appliance up"
	}
	return "fix that and run again: appliance up"
}

// aboutAccount reports whether a problem is about the external account; the types of such
// problems are also used for other failures.
func aboutAccount(detail string) bool {
	detail = strings.ToLower(detail)
	return strings.Contains(detail, "external account") || strings.Contains(detail, "externalaccountbinding")
}
