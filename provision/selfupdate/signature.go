package selfupdate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"aead.dev/minisign"
	"golang.org/x/mod/semver"
)

// The files of a release that list and sign its content.
const (
	SumsName      = "SHA256SUMS"
	SignatureName = SumsName + ".minisig"
)

// signatureLimit is more than any minisign signature has with our comments.
const signatureLimit = 4 << 10

// A NoKeyError says that this program has no key to verify a release with.
type NoKeyError struct{}

func (*NoKeyError) Error() string {
	return "this program was built without a release key, so it cannot tell a real release from a forged one"
}

// Hint says what to do.
func (*NoKeyError) Hint() string {
	return "nothing was changed; install a release by hand, as docs/install.md says"
}

// A SignatureError says that a release is not signed as required.
type SignatureError struct{ Reason string }

func (e *SignatureError) Error() string { return e.Reason }

// Hint says what to do.
func (*SignatureError) Hint() string {
	return "nothing was changed; do not use this release: it was altered, is incomplete, or is signed by others. Ask whoever publishes it"
}

// A DowngradeError says that a release is older than this program.
type DowngradeError struct{ Have, Offered string }

func (e *DowngradeError) Error() string {
	return fmt.Sprintf("the release is %s, which is older than this program, %s", e.Offered, e.Have)
}

// Hint says what to do.
func (*DowngradeError) Hint() string {
	return "nothing was changed; to return to the program from before the last update, type: appliance self-update --rollback"
}

// parseKeys reads public keys in minisign's form; empty ones are slots that are not used.
func parseKeys(texts []string) ([]minisign.PublicKey, error) {
	var keys []minisign.PublicKey
	for _, text := range texts {
		if text == "" {
			continue
		}
		var key minisign.PublicKey
		if err := key.UnmarshalText([]byte(text)); err != nil {
			return nil, &ReleaseError{fmt.Sprintf("the release key %q in this program cannot be read: %v", text, err), "build it with a key that minisign or bin/release made"}
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, &NoKeyError{}
	}
	return keys, nil
}

// Sign signs the list of checksums of a release. version is the version of the release, such as
// v1.2.3; at is written into the signature, which is the same every time.
func Sign(key minisign.PrivateKey, sums []byte, version string, at time.Time) ([]byte, error) {
	if !semver.IsValid(version) {
		return nil, fmt.Errorf("%q is not the version of a release, such as v1.2.3", version)
	}
	r := minisign.NewReader(bytes.NewReader(sums)) // hashed first, as minisign itself does
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	pub, ok := key.Public().(minisign.PublicKey)
	if !ok {
		return nil, errors.New("the key has no public half")
	}
	comment := strings.Join([]string{"timestamp:" + strconv.FormatInt(at.Unix(), 10), "file:" + SumsName, "version:" + version}, "\t")
	return r.SignWithComments(key, comment, "verify with: minisign -Vm "+SumsName+" -P "+pub.String()), nil
}

// Verify makes sure that one of the keys has signed a list of checksums, and returns the
// version that the signature names. Keys are in minisign's form ("RW...").
func Verify(keys []string, sums, signature []byte) (version string, err error) {
	known, err := parseKeys(keys)
	if err != nil {
		return "", err
	}
	return verify(known, sums, signature)
}

func verify(keys []minisign.PublicKey, sums, text []byte) (version string, err error) {
	var s minisign.Signature
	if err := s.UnmarshalText(text); err != nil {
		return "", &SignatureError{SignatureName + " is not a whole signature"}
	}
	known := false
	for _, key := range keys {
		if key.ID() != s.KeyID {
			continue
		}
		known = true
		if minisign.Verify(key, sums, text) {
			return signedVersion(s.TrustedComment)
		}
	}
	if !known {
		return "", &SignatureError{fmt.Sprintf("%s was made with the key %016X, which is not one of this program's", SignatureName, s.KeyID)}
	}
	return "", &SignatureError{"the signature does not match " + SumsName}
}

// signedVersion reads the version from a comment that was signed, and makes sure that the
// comment is that of a list of checksums.
func signedVersion(comment string) (string, error) {
	said := map[string]string{}
	for part := range strings.SplitSeq(comment, "\t") {
		key, value, _ := strings.Cut(part, ":")
		if _, twice := said[key]; twice {
			return "", &SignatureError{"the signature says " + key + " twice"}
		}
		said[key] = value
	}
	if said["file"] != SumsName {
		return "", &SignatureError{fmt.Sprintf("the signature is that of %q and not of %s", said["file"], SumsName)}
	}
	if !semver.IsValid(said["version"]) {
		return "", &SignatureError{fmt.Sprintf("the signature names %q as the version, and not one such as v1.2.3", said["version"])}
	}
	return said["version"], nil
}

// older reports whether a release is older than the present program. A program that is not a
// release, such as one built from a commit, counts as older than all of them.
func older(offered, have string) bool {
	return semver.IsValid(have) && semver.Compare(offered, have) < 0
}
