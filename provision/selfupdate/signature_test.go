package selfupdate_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"appliance/provision/selfupdate"
)

// signWith signs as minisign does, with any comment.
func signWith(comment string) func(minisign.PrivateKey, []byte, string) []byte {
	return func(key minisign.PrivateKey, sums []byte, _ string) []byte {
		r := minisign.NewReader(bytes.NewReader(sums))
		_, _ = io.Copy(io.Discard, r)
		return r.SignWithComments(key, comment, "not to be trusted")
	}
}

// after changes the text of a signature.
func after(change func([]byte) []byte) func(*release, *selfupdate.Options) {
	return func(r *release, _ *selfupdate.Options) {
		sign := r.sign
		r.sign = func(key minisign.PrivateKey, sums []byte, version string) []byte {
			return change(sign(key, sums, version))
		}
	}
}

// Whatever is wrong with the signature, the program is not downloaded, and no new file is
// left behind.
func TestAReleaseThatIsNotSignedByUsIsRefused(t *testing.T) {
	foreign := newKey(t)
	for what, c := range map[string]struct {
		change func(*release, *selfupdate.Options)
		says   string
	}{
		"no signature":      {after(func([]byte) []byte { return nil }), "the release is not signed"},
		"an empty one":      {after(func([]byte) []byte { return []byte{} }), "is not a whole signature"},
		"cut in the middle": {after(func(s []byte) []byte { return s[:len(s)/2] }), "is not a whole signature"},
		"cut by a line":     {after(func(s []byte) []byte { return s[:bytes.LastIndexByte(s[:len(s)-1], '\n')+1] }), "is not a whole signature"},
		"a web page":        {after(func([]byte) []byte { return []byte("<html>\n<body>\nnot found\n</body>\n") }), "is not a whole signature"},
		"larger than any":   {after(func(s []byte) []byte { return append(s, make([]byte, 8<<10)...) }), "is larger than"},
		"another key":       {func(r *release, _ *selfupdate.Options) { r.key = foreign }, "which is not one of this program's"},
		"another key under the name of ours": {after(func(s []byte) []byte {
			var made minisign.Signature
			_ = made.UnmarshalText(s)
			var theirs minisign.Signature
			forged := minisign.SignWithComments(foreign, []byte("x"), made.TrustedComment, "")
			_ = theirs.UnmarshalText(forged)
			theirs.KeyID = made.KeyID
			out, _ := theirs.MarshalText()
			return out
		}), "does not match SHA256SUMS"},
		"sums that were altered": {func(r *release, _ *selfupdate.Options) {
			sign := r.sign
			r.sign = func(key minisign.PrivateKey, sums []byte, version string) []byte {
				return sign(key, append(sums, '\n'), version)
			}
		}, "does not match SHA256SUMS"},
		"a comment that was altered": {after(func(s []byte) []byte { return bytes.Replace(s, []byte("v2.0.0"), []byte("v9.0.0"), 1) }), "does not match SHA256SUMS"},
		"of another file": {func(r *release, _ *selfupdate.Options) {
			r.sign = signWith("timestamp:1\tfile:notes.txt\tversion:v2.0.0")
		}, `that of "notes.txt"`},
		"without a version":      {func(r *release, _ *selfupdate.Options) { r.sign = signWith("timestamp:1\tfile:SHA256SUMS") }, `names "" as the version`},
		"a version that is none": {func(r *release, _ *selfupdate.Options) { r.sign = signWith("file:SHA256SUMS\tversion:latest") }, `names "latest"`},
		"two versions": {func(r *release, _ *selfupdate.Options) {
			r.sign = signWith("file:SHA256SUMS\tversion:v2.0.0\tversion:v1.0.0")
		}, "says version twice"},
		"an older release":          {func(r *release, _ *selfupdate.Options) { r.version = "v1.8.9" }, "is v1.8.9, which is older than this program, v1.9.0"},
		"the candidate of this one": {func(r *release, _ *selfupdate.Options) { r.version = "v1.9.0-rc.1" }, "older"},
		"a program without a key":   {func(_ *release, o *selfupdate.Options) { o.Keys = []string{"", ""} }, "was built without a release key"},
		"a program with half a key": {func(_ *release, o *selfupdate.Options) { o.Keys = []string{"RWQ"} }, "cannot be read"},
		"a checksum does not excuse it": {func(r *release, o *selfupdate.Options) {
			o.SHA256 = sum(r.program)
			r.sign = func(minisign.PrivateKey, []byte, string) []byte { return nil }
		}, "the release is not signed"},
	} {
		t.Run(what, func(t *testing.T) {
			r, name := newRelease(t, program("new", 50_000)), installed(t)
			o := r.options(name)
			r.set(func(r *release) { c.change(r, &o) })
			_, err := selfupdate.Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			var hinted interface{ Hint() string }
			if !errors.As(err, &hinted) || hinted.Hint() == "" {
				t.Errorf("%v has no hint", err)
			}
			if asked := r.asked(); len(asked) > 0 {
				t.Errorf("the program was downloaded: %q", asked)
			}
			if says(t, name) != "old" || len(beside(t, name)) > 0 {
				t.Errorf("it says %s; beside it: %v", says(t, name), beside(t, name))
			}
		})
	}
}

// A new key is built into a release before the first release is signed with it.
func TestKeysAreChangedOneReleaseAhead(t *testing.T) {
	r, name := newRelease(t, program("new", 1000)), installed(t)
	o := r.options(name)
	o.Keys = []string{public(newKey(t)), public(r.key)}
	if out, err := selfupdate.Run(t.Context(), o); err != nil || !out.Changed {
		t.Errorf("signed with the next key: %+v, %v", out, err)
	}
	r, name = newRelease(t, program("new", 1000)), installed(t)
	o = r.options(name)
	o.Version = "0123abc" // a build that is not a release
	if out, err := selfupdate.Run(t.Context(), o); err != nil || !out.Changed {
		t.Errorf("from a build that is no release: %+v, %v", out, err)
	}
}

func TestASignatureNamesAVersion(t *testing.T) {
	key := newKey(t)
	if _, err := selfupdate.Sign(key, []byte("sums"), "0123abc-dirty", time.Unix(0, 0)); err == nil {
		t.Error("a commit was signed as a version")
	}
	one, err1 := selfupdate.Sign(key, []byte("sums"), "v1.0.0", time.Unix(7, 0))
	two, err2 := selfupdate.Sign(key, []byte("sums"), "v1.0.0", time.Unix(7, 0))
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, two) {
		t.Errorf("two signatures of the same differ: %v", err)
	}
	if version, err := selfupdate.Verify([]string{public(key)}, []byte("sums"), one); err != nil || version != "v1.0.0" {
		t.Errorf("%s, %v", version, err)
	}
}
