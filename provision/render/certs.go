package render

import (
	"go.yaml.in/yaml/v3"

	"appliance/provision/answers"
	"appliance/provision/certs"
)

// certs renders the configuration of the service that renews certificates.
func (in Input) certs(put putter) error {
	if in.Answers.TLS != answers.ACME {
		return nil
	}
	ca := ""
	if len(in.CA) > 0 {
		ca = "/etc/appliance-ca/acme-ca.pem"
	}
	c := Certificates(in.Answers, "/certs", ca)
	if c.EAB != nil {
		c.EAB.HMACFile = "/etc/appliance/eab_hmac"
		put("config/certs/eab_hmac", 0o400, NginxUser, in.EABKey)
	}
	data, err := yaml.Marshal(c)
	put("config/certs/certs.yaml", 0o644, NginxUser, data)
	return err
}

// letsEncryptStaging is tried before Let's Encrypt itself: it forgives failures.
const letsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"

// Certificates returns which certificates the answers ask for and where they are kept: the same
// for the service and for the first installation.
func Certificates(a answers.Answers, dir, caFile string) certs.Config {
	c := certs.Config{Hosts: a.Hosts(), Directory: a.ACMEDirectory, Email: a.Email, CAFile: caFile, Dir: dir, Listen: ":8402"}
	if a.ACMEDirectory == answers.LetsEncrypt {
		c.Rehearse = letsEncryptStaging
	}
	if a.ACMEEABKeyID != "" {
		c.EAB = &certs.Binding{KeyID: a.ACMEEABKeyID, HMACFile: a.ACMEEABHMACFile}
	}
	return c
}
