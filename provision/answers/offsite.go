package answers

import (
	"fmt"
	"net/url"
	"strings"
)

// OffsiteAnswers are the answers about backups on other hosts, and about how long things are kept.
type OffsiteAnswers struct {
	Offsite        string `yaml:"backup_offsite"`
	OffsiteKeyFile string `yaml:"backup_offsite_key_file"`
	OffsiteHostKey string `yaml:"backup_offsite_host_key"`
	OffsiteKeep    int    `yaml:"backup_offsite_keep"`
	OffsiteDays    int    `yaml:"backup_offsite_days"`

	RemoteMediaDays int `yaml:"remote_media_days"`
}

var offsiteFields = []Field{
	text("backup_offsite", func(a *Answers) *string { return &a.Offsite }, Field{
		Ask: "Where off this host should backups go?", Advanced: true, Check: optional(checkOffsite),
		Help: "s3://endpoint/bucket/prefix for S3-compatible storage, or sftp://user@host/directory. Every backup in backups/ is sent there, encrypted, and read back. Empty means nowhere.",
	}),
	text("backup_offsite_key_file", func(a *Answers) *string { return &a.OffsiteKeyFile }, Field{
		Ask: "Which file holds the keys to that place?", Advanced: true, Check: optional(checkAbsolute),
		Help: "For S3 the access key in the first line and the secret key in the second; for SFTP a private key without a passphrase; mode 0600.",
	}),
	text("backup_offsite_host_key", func(a *Answers) *string { return &a.OffsiteHostKey }, Field{
		Ask: "What is the public key of the SFTP server?", Advanced: true,
		Help: "Such as ssh-ed25519 AAAA...; while it is empty, the first try shows the key that the server has. Only with sftp.",
	}),
	integer("backup_offsite_keep", func(a *Answers) *int { return &a.OffsiteKeep }, 30, Field{
		Ask: "How many backups should stay there?", Advanced: true, Check: checkNatural,
		Help: "Beyond this number, the oldest are removed; 0 means no limit.",
	}),
	integer("backup_offsite_days", func(a *Answers) *int { return &a.OffsiteDays }, 0, Field{
		Ask: "For how many days should backups stay there?", Advanced: true, Check: checkNatural,
		Help: "Older ones are removed, except the newest; 0 means no limit.",
	}),
	integer("remote_media_days", func(a *Answers) *int { return &a.RemoteMediaDays }, 90, Field{
		Ask: "For how many days should copies of other servers' media stay?", Advanced: true, If: Answers.BundledHomeserver, Check: checkNatural,
		Help: "The bundled homeserver fetches them again when they are needed. Synapse counts from the last use and removes them itself; for Dendrite the nightly backup does. 0 means forever.",
	}),
}

func checkOffsite(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "s3" && u.Scheme != "s3+http" && u.Scheme != "sftp":
		return fmt.Errorf("must look like s3://s3.example.org/bucket/prefix or sftp://user@host/directory")
	case u.Scheme == "sftp" && u.User.Username() == "":
		return fmt.Errorf("must name the user: sftp://user@host/directory")
	case u.Scheme != "sftp" && strings.Trim(u.Path, "/") == "":
		return fmt.Errorf("must name the bucket: s3://s3.example.org/bucket")
	}
	if _, has := u.User.Password(); has || u.Scheme != "sftp" && u.User != nil {
		return fmt.Errorf("must hold no keys and no password: put them into a file and name it as backup_offsite_key_file")
	}
	return nil
}

// consistent checks that an off-site location comes with its keys.
func (a OffsiteAnswers) consistent() []Problem {
	if a.Offsite != "" && a.OffsiteKeyFile == "" {
		return []Problem{{Key: "backup_offsite_key_file", Reason: "is required with backup_offsite"}}
	}
	return nil
}
