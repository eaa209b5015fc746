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
	data, err := yaml.Marshal(Certificates(in.Answers, "/certs", ca))
	put("config/certs/certs.yaml", 0o644, NginxUser, data)
	return err
}

// letsEncryptStaging is asked before Let's Encrypt itself: it forgives failures.
const letsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"

// Certificates says which certificates the answers ask for and where they are
// kept: the same for the service and for the first installation.
func Certificates(a answers.Answers, dir, caFile string) certs.Config {
	c := certs.Config{Hosts: a.Hosts(), Directory: a.ACMEDirectory, Email: a.Email, CAFile: caFile, Dir: dir, Listen: ":8402"}
	if a.ACMEDirectory == answers.LetsEncrypt {
		c.Rehearse = letsEncryptStaging
	}
	return c
}
