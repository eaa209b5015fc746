package support

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/offsite"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// masked replaces a secret.
const masked = "[secret]"

// A mask removes secrets from texts that are shown or shared.
type mask struct {
	replace *strings.Replacer
	wipe    bool // also removes whatever people may have written
}

// newMask returns a mask for the secrets of the installation, in every form in which they
// are written down, and for those inside addresses that the operator gave.
func newMask(s *site.Site) mask {
	set, _, _ := secrets.Prepare(s.Dir) // what can be read
	var pairs []string
	hide := func(value string) {
		if len(value) < 6 {
			return
		}
		pairs = append(pairs, value, url.QueryEscape(value), url.PathEscape(value), base64.StdEncoding.EncodeToString([]byte(value)))
	}
	for _, value := range set {
		reveal(value, hide)
	}
	turn, _ := secrets.UnderWay(s.Dir)
	for _, r := range turn {
		hide(r.Old)
		hide(r.New)
	}
	external := secrets.Set{}
	_ = attach.Secrets(s.Answers, external) // what can be read
	for _, value := range external {
		reveal(value, hide)
	}
	if m, err := answers.ParseMongo(s.Answers.MongoURL); err == nil { // which may have several hosts
		hide(m.Password)
	}
	for _, address := range []string{s.Answers.BridgeDatabase, s.Answers.HomeserverDatabase} {
		if u, err := url.Parse(address); err == nil && u.User != nil {
			password, _ := u.User.Password()
			hide(password)
		}
	}
	if access, key, err := offsite.Keys(s.Answers.UploadsKeyFile); err == nil {
		hide(access)
		hide(key)
	}
	slices.SortFunc(pairs, func(a, b string) int { return len(b) - len(a) }) // the longest first
	var args []string
	for _, spelling := range slices.Compact(pairs) {
		args = append(args, spelling, masked)
	}
	return mask{replace: strings.NewReplacer(args...)}
}

// reveal passes a secret to hide, whole and, if it has several lines, line by line.
func reveal(value secret.String, hide func(string)) {
	hide(value.Reveal())
	for line := range strings.Lines(value.Reveal()) {
		hide(strings.TrimSpace(line))
	}
}

var (
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)|AGE-SECRET-KEY-[0-9A-Z-]+`)
	credential = regexp.MustCompile(`(?i)((?:authorization|x-auth-token|access_token|as_token|hs_token|password|passwd|secret|token)["']?\s*[:=]\s*["']?(?:bearer\s+)?)[^\s"',;&{}\[\]]{6,}`)
	inAddress  = regexp.MustCompile(`(://[^/\s:@"]*:)[^@/\s"]+@`)
	query      = regexp.MustCompile(`\?[^\s"']+`)
	// statements matches lines in which databases show the values of rows.
	statements = regexp.MustCompile(`(?m)^.*(?:STATEMENT|DETAIL|CONTEXT|Failing row|"body"|"formatted_body"|"msg":|"message":\s*\{).*$`)
)

// text masks a whole text.
func (m mask) text(s string) string {
	s = m.replace.Replace(s)
	s = privateKey.ReplaceAllString(s, masked)
	s = credential.ReplaceAllString(s, "${1}"+masked)
	s = inAddress.ReplaceAllString(s, "${1}"+masked+"@")
	if m.wipe {
		s = query.ReplaceAllString(s, "?[left out]")
		s = statements.ReplaceAllString(s, "[a line with data was left out]")
	}
	return s
}

// writer masks line by line.
func (m mask) writer(w io.Writer) *maskWriter { return &maskWriter{m: m, w: w} }

type maskWriter struct {
	m   mask
	w   io.Writer
	buf []byte
}

func (w *maskWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	end := bytes.LastIndexByte(w.buf, '\n') + 1
	if end == 0 && len(w.buf) < 1<<20 {
		return len(p), nil
	}
	if end == 0 {
		end = len(w.buf)
	}
	_, err := io.WriteString(w.w, w.m.text(string(w.buf[:end])))
	w.buf = append(w.buf[:0], w.buf[end:]...)
	return len(p), err
}

// flush writes the rest, which does not end with a line break.
func (w *maskWriter) flush() {
	_, _ = io.WriteString(w.w, w.m.text(string(w.buf)))
	w.buf = nil
}
