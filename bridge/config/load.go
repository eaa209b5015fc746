package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"appliance/bridge/config/configfile"
	"appliance/bridge/ids"
	"appliance/bridge/secret"
)

// A Problem is one thing in bridge.yaml that has to be changed.
type Problem struct {
	Key    string // dotted path; empty when only the line is known
	Line   int    // 0 when unknown
	Reason string // what is wrong, as the end of a sentence that starts with the key
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// An InvalidError lists everything that is wrong with a file, so that it can be
// fixed in one go.
type InvalidError struct {
	File     string
	Problems []Problem
}

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.String()
	}
	return e.File + ": " + strings.Join(parts, "; ")
}

// Load reads and validates a file. A file with invalid content is reported as an
// *InvalidError with every problem in it.
func Load(name string) (Config, error) {
	data, err := configfile.Read(name)
	if err != nil {
		return Config{}, err
	}
	return Parse(name, data)
}

// Parse is Load for content that is already in memory; name is used in errors.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	err := dec.Decode(&c)
	if err == nil { // a line indented less than the first one ends the document without an error
		if err = dec.Decode(new(yaml.Node)); err == nil {
			err = errors.New("has more than one document")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return Config{}, &InvalidError{File: name, Problems: yamlProblems(err)}
	}
	if problems := c.Validate(); len(problems) > 0 {
		return Config{}, &InvalidError{File: name, Problems: problems}
	}
	return c, nil
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type .*$`)
	otherLine    = regexp.MustCompile(`^line (\d+): (.*)$`)
)

// yamlProblems extracts the line and the key from the YAML decoder's errors.
func yamlProblems(err error) []Problem {
	lines := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		lines = te.Errors
	}
	var out []Problem
	for _, l := range lines {
		l = strings.TrimPrefix(l, "unmarshal errors:\n  ")
		if m := unknownField.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			out = append(out, Problem{Key: m[2], Line: n, Reason: "unknown key"})
		} else if m := otherLine.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			out = append(out, Problem{Line: n, Reason: m[2]})
		} else {
			out = append(out, Problem{Reason: l})
		}
	}
	return out
}

// logLevels are the values of log_level.
var logLevels = []string{"debug", "info", "warn", "error"}

// Validate returns every problem of c, in the order of the file. It does no I/O.
func (c Config) Validate() []Problem {
	var ps []Problem
	bad := func(key, reason string, args ...any) {
		ps = append(ps, Problem{Key: key, Reason: fmt.Sprintf(reason, args...)})
	}
	required := func(key, value string) {
		if value == "" {
			bad(key, "is required")
		}
	}
	httpURL := func(key, value string) {
		u, err := url.Parse(value)
		switch {
		case value == "":
			bad(key, "is required")
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
			bad(key, "must be an http or https URL (got %q)", value)
		case strings.HasSuffix(value, "/"):
			bad(key, "must not end in a slash (got %q)", value)
		}
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			bad(key, "must be one of %s (got %q)", strings.Join(allowed, ", "), value)
		}
	}

	oneOf("log_level", c.LogLevel, logLevels...)
	globs := func(key string, list []string) {
		for _, g := range list {
			if _, err := path.Match(g, "x"); err != nil || g == "" || strings.ContainsAny(g, " /@") {
				bad(key, "%q is not a pattern for a server name", g)
			}
		}
	}
	globs("servers.allow", c.Servers.Allow)
	globs("servers.deny", c.Servers.Deny)
	for _, g := range c.PublicChannels {
		if _, err := path.Match(g, "x"); err != nil || g == "" || strings.ContainsAny(g, " #:@/") {
			bad("public_channels", "%q is not the name of a channel, nor a pattern of names", g)
		}
	}
	c.validatePeople(bad)

	httpURL("homeserver.url", c.Homeserver.URL)
	required("homeserver.domain", c.Homeserver.Domain)
	if strings.ContainsAny(c.Homeserver.Domain, "/@ ") {
		bad("homeserver.domain", "must be a bare server name (got %q)", c.Homeserver.Domain)
	}
	oneOf("homeserver.kind", c.Homeserver.Kind, Homeservers()...)
	required("appservice.id", c.AppService.ID)
	httpURL("appservice.url", c.AppService.URL)
	required("appservice.listen", c.AppService.Listen)
	if !regexp.MustCompile(`^[a-z0-9._=/+-]+$`).MatchString(c.AppService.Bot) {
		bad("appservice.bot", "must be a Matrix localpart: lower-case letters, digits and ._=/+- (got %q)", c.AppService.Bot)
	}
	required("appservice.hs_token_file", c.AppService.HSTokenFile)
	required("appservice.as_token_file", c.AppService.ASTokenFile)
	httpURL("rocketchat.url", c.RocketChat.URL)
	httpURL("rocketchat.site_url", c.RocketChat.SiteURL)
	required("rocketchat.user_id", c.RocketChat.UserID)
	required("rocketchat.token_file", c.RocketChat.TokenFile)
	required("rocketchat.create_token_secret_file", c.RocketChat.CreateTokenSecretFile)
	switch scheme, _, _ := strings.Cut(c.Database, ":"); scheme {
	case "sqlite", "postgres", "postgresql":
	default:
		bad("database", `must start with "sqlite:" or "postgres:" (it has %q)`, scheme)
	}
	oneOf("namespace", c.Namespace, "native", "prefixed")
	if err := ids.CheckPrefix(c.GhostPrefix); err != nil {
		bad("ghost_prefix", "%s", err)
	}
	if c.Traces.Endpoint != "" {
		httpURL("traces.endpoint", c.Traces.Endpoint)
	}
	c.validateTraces(bad)
	return ps
}

func (c Config) validateTraces(bad func(key, reason string, args ...any)) {
	if c.TracePercent < 0 || c.TracePercent > 100 {
		bad("trace_percent", "must be from 0 to 100 (got %d)", c.TracePercent)
	}
	if c.Traces.Endpoint == "" && c.Traces.HeadersFile != "" {
		bad("traces.headers_file", "belongs to traces.endpoint: set both or neither")
	}
	if u, err := url.Parse(c.Traces.Endpoint); err == nil && u.User != nil {
		bad("traces.endpoint", "must hold no password: a header in traces.headers_file does")
	}
}

// Allowed reports whether people may talk with users of server.
func (s Servers) Allowed(server string) bool {
	server = strings.ToLower(server)
	match := func(glob string) bool { ok, _ := path.Match(strings.ToLower(glob), server); return ok }
	return slices.ContainsFunc(s.Allow, match) && !slices.ContainsFunc(s.Deny, match)
}

// Secrets are the contents of the files that a Config names.
type Secrets struct {
	HSToken, ASToken  secret.String // homeserver to bridge, bridge to homeserver
	RocketChatToken   secret.String // the bridge account's personal access token
	CreateTokenSecret secret.String // lets the bridge account issue tokens for puppets
	TraceHeaders      map[string]secret.String
}

// ReadSecrets reads the files. The error names every file that cannot be used.
func ReadSecrets(f Fixed) (Secrets, error) {
	var s Secrets
	var errs []error
	for _, e := range []struct {
		key, file string
		to        *secret.String
	}{
		{"appservice.hs_token_file", f.AppService.HSTokenFile, &s.HSToken},
		{"appservice.as_token_file", f.AppService.ASTokenFile, &s.ASToken},
		{"rocketchat.token_file", f.RocketChat.TokenFile, &s.RocketChatToken},
		{"rocketchat.create_token_secret_file", f.RocketChat.CreateTokenSecretFile, &s.CreateTokenSecret},
	} {
		data, err := os.ReadFile(e.file)
		text := strings.TrimSpace(string(data))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", e.key, err))
		case text == "":
			errs = append(errs, fmt.Errorf("%s: %s is empty", e.key, e.file))
		default:
			*e.to = secret.New(text)
		}
	}
	if f.Traces.HeadersFile != "" {
		data, err := os.ReadFile(f.Traces.HeadersFile)
		if err == nil {
			s.TraceHeaders, err = Headers(data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("traces.headers_file: %w", err))
		}
	}
	return s, errors.Join(errs...)
}

// Headers reads HTTP headers, one per line: "Authorization: Bearer x". Errors do not
// quote them.
func Headers(data []byte) (map[string]secret.String, error) {
	out := map[string]secret.String{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || value == "" {
			return nil, fmt.Errorf("line %d is not a header such as Authorization: Bearer x", n)
		}
		out[name] = secret.New(value)
	}
	return out, nil
}
