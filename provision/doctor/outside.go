package doctor

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"appliance/provision/finding"
)

// outside does what another homeserver does before it federates with this one: it follows the
// delegation by the names in the public DNS, trusts only known authorities, and checks that the
// keys it is shown are self-signed (Matrix server-server API, "Server discovery" and
// "Retrieving server keys").
func (t Target) outside(ctx context.Context) finding.Finding {
	name := t.Answers.ServerName
	host, err := delegated(ctx, t, name)
	if err != nil {
		return finding.Warning("other servers may not find "+name, err.Error(), "check the DNS record and the certificate of "+name).Without("nginx")
	}
	status, body, err := fetch(ctx, t.Outside, "https://"+host+"/_matrix/key/v2/server")
	if err != nil || status != http.StatusOK {
		return finding.Warning("other servers may not reach "+name+" at "+host, outcome(status, err), "check the DNS record, the certificate and the firewall of "+host).Without("nginx", "homeserver", "postgres")
	}
	if err := selfSigned(body, name, t.Now()); err != nil {
		return finding.Failure("other servers would reject the keys of "+name, err.Error(), "see: appliance logs homeserver")
	}
	return finding.Good("other servers find %s at %s and can trust its keys", name, host)
}

// delegated follows /.well-known/matrix/server. Without it the name itself counts.
func delegated(ctx context.Context, t Target, name string) (string, error) {
	status, body, err := fetch(ctx, t.Outside, "https://"+name+"/.well-known/matrix/server")
	if err != nil {
		return "", err
	}
	var answer struct {
		Server string `json:"m.server"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Server == "" {
		return net.JoinHostPort(name, "8448"), nil
	}
	if _, _, err := net.SplitHostPort(answer.Server); err != nil {
		return net.JoinHostPort(answer.Server, "8448"), nil
	}
	return answer.Server, nil
}

// selfSigned checks the keys that a server publishes.
func selfSigned(data []byte, name string, now time.Time) error {
	var keys struct {
		ServerName string                       `json:"server_name"`
		ValidUntil int64                        `json:"valid_until_ts"`
		Keys       map[string]map[string]string `json:"verify_keys"`
		Signatures map[string]map[string]string `json:"signatures"`
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		return fmt.Errorf("they are not JSON: %w", err)
	}
	switch {
	case keys.ServerName != name:
		return fmt.Errorf("they are those of %q", keys.ServerName)
	case time.UnixMilli(keys.ValidUntil).Before(now):
		return errors.New("they have expired: is the clock right?")
	case len(keys.Keys) == 0:
		return errors.New("there are none")
	}
	signed, err := canonical(data)
	if err != nil {
		return err
	}
	for id, key := range keys.Keys {
		public, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(key["key"], "="))
		if err != nil || len(public) != ed25519.PublicKeySize {
			return fmt.Errorf("%s is not a key", id)
		}
		signature, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(keys.Signatures[name][id], "="))
		if err != nil || !ed25519.Verify(public, signed, signature) {
			return fmt.Errorf("%s has an invalid self-signature", id)
		}
	}
	return nil
}

// canonical returns what a signature covers: sorted keys, no spaces, numbers as they are,
// without signatures and unsigned. Go's encoder sorts.
func canonical(data []byte) ([]byte, error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	delete(v, "signatures")
	delete(v, "unsigned")
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return []byte(strings.TrimSuffix(b.String(), "\n")), err
}
