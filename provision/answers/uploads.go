package answers

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// UploadAnswers are the answers about where Rocket.Chat keeps files.
type UploadAnswers struct {
	Uploads        string `yaml:"uploads"`
	UploadsKeyFile string `yaml:"uploads_key_file"`
	UploadsRegion  string `yaml:"uploads_region"`
	UploadsCAFile  string `yaml:"uploads_ca_file"`
}

var uploadFields = []Field{
	text("uploads", func(a *Answers) *string { return &a.Uploads }, Field{
		Ask: "Where should Rocket.Chat keep the files that people send?", Advanced: true, Check: optional(checkUploads), If: Answers.BundledRocketChat,
		Help: "bundled: in its MongoDB. s3://endpoint/bucket: in S3-compatible storage, which backups leave out. Empty leaves it to Rocket.Chat's own settings, whose default is MongoDB. See docs/external.md.",
	}),
	text("uploads_key_file", func(a *Answers) *string { return &a.UploadsKeyFile }, Field{
		Ask: "Which file holds the keys to that storage?", Advanced: true, Check: optional(checkAbsolute), If: Answers.BundledRocketChat,
		Help: "The access key in the first line and the secret key in the second; mode 0600.",
	}),
	text("uploads_region", func(a *Answers) *string { return &a.UploadsRegion }, Field{
		Ask: "In which region is that storage?", Advanced: true, Check: optional(checkRegion), If: Answers.BundledRocketChat,
		Help: "Empty means the one in the name of an endpoint of Amazon's, and us-east-1 elsewhere.",
	}),
	text("uploads_ca_file", func(a *Answers) *string { return &a.UploadsCAFile }, Field{
		Ask: "Which file holds the CA certificates for that storage?", Advanced: true, Check: optional(checkAbsolute), If: Answers.BundledRocketChat,
		Help: "PEM. Rocket.Chat then trusts them in all its connections, beside the public ones.",
	}),
}

// A Storage is S3-compatible storage for files.
type Storage struct{ Endpoint, Bucket, Region string }

var regionOfAmazon = regexp.MustCompile(`^s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$`)

// Storage returns the operator's storage for files, or false if there is none.
func (u UploadAnswers) Storage() (Storage, bool) {
	at, err := url.Parse(u.Uploads)
	if err != nil || at.Host == "" {
		return Storage{}, false
	}
	region := "us-east-1"
	if m := regionOfAmazon.FindStringSubmatch(at.Hostname()); m != nil {
		region = m[1]
	}
	scheme := "https://"
	if at.Scheme == "s3+http" {
		scheme = "http://"
	}
	return Storage{scheme + at.Host, strings.Trim(at.Path, "/"), cmp.Or(u.UploadsRegion, region)}, true
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func checkUploads(s string) error {
	if s == Bundled {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "s3" && u.Scheme != "s3+http":
		return fmt.Errorf("must be bundled or such as s3://s3.example.org/bucket")
	case u.User != nil:
		return fmt.Errorf("must hold no keys: put them into a file and name it as uploads_key_file")
	case Itself(u.Hostname()):
		return fmt.Errorf("must be an address that a container reaches: %s would be the container itself", u.Hostname())
	}
	switch bucket := strings.Trim(u.Path, "/"); {
	case bucket == "":
		return fmt.Errorf("must name the bucket: s3://s3.example.org/bucket")
	case strings.Contains(bucket, "/"):
		return fmt.Errorf("must name a bucket and nothing below it: Rocket.Chat uses all of it")
	case !bucketName.MatchString(bucket):
		return fmt.Errorf("must name a bucket of 3 to 63 lower-case letters, digits, dots and dashes")
	}
	return nil
}

func checkRegion(s string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9-]+$`).MatchString(s) {
		return fmt.Errorf("must be such as eu-central-1")
	}
	return nil
}

// UploadSettings are the settings of Rocket.Chat that the answers about uploads determine.
var UploadSettings = []string{
	"FileUpload_Storage_Type", "FileUpload_S3_Bucket", "FileUpload_S3_BucketURL", "FileUpload_S3_Region", "FileUpload_S3_ForcePathStyle", "FileUpload_S3_SignatureVersion",
	"FileUpload_S3_AWSAccessKeyId", "FileUpload_S3_AWSSecretAccessKey", "FileUpload_S3_Proxy_Uploads", "FileUpload_S3_Proxy_Avatars", "FileUpload_S3_Proxy_UserDataFiles",
}

// consistent checks that storage comes with its keys, and that no forced setting conflicts with it.
func (u UploadAnswers) consistent(forced []RocketChatSetting) []Problem {
	var problems []Problem
	storage, external := u.Storage()
	if external && u.UploadsKeyFile == "" {
		problems = append(problems, Problem{Key: "uploads_key_file", Reason: "is required with storage in uploads"})
	}
	for _, f := range []struct{ key, value string }{{"uploads_key_file", u.UploadsKeyFile}, {"uploads_region", u.UploadsRegion}, {"uploads_ca_file", u.UploadsCAFile}} {
		if !external && f.value != "" {
			problems = append(problems, Problem{Key: f.key, Value: f.value, Reason: "needs external storage in uploads"})
		}
	}
	if external && u.UploadsCAFile != "" && strings.HasPrefix(storage.Endpoint, "http://") {
		problems = append(problems, Problem{Key: "uploads_ca_file", Value: u.UploadsCAFile, Reason: "is for a certificate, and s3+http has none"})
	}
	for _, s := range forced {
		if u.Uploads != "" && slices.Contains(UploadSettings, s.ID) {
			problems = append(problems, Problem{Key: RocketChatSettingsKey, Reason: "has " + s.ID + ", which the answer uploads decides"})
		}
	}
	return problems
}
