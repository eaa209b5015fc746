package stack

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A RegistryError says that images could not be fetched from their registry.
type RegistryError struct {
	Reason  string // in the engine's words
	Limited bool   // the registry limits how much this address may fetch
	Refused bool   // the registry wants another account, or has no such image
}

func (e *RegistryError) Error() string {
	if e.Limited {
		return "the registry limits how many images this address may fetch: " + e.Reason
	}
	return "fetch images: " + e.Reason
}

// Hint says what to do.
func (e *RegistryError) Hint() string {
	const bundle = "or carry the images over from another host: appliance bundle create FILE there, appliance bundle load FILE here"
	switch {
	case e.Limited:
		return "sign in, which raises the limit: docker login; or wait some hours and run again: appliance up; or name a mirror in /etc/docker/daemon.json (registry-mirrors) and type: systemctl restart docker; " + bundle
	case e.Refused:
		return "sign in to that registry if the image is not public: docker login REGISTRY; and compare the names in versions.env"
	}
	return "see whether this host reaches the registry, and whether a proxy is set for Docker; then run again: appliance up; " + bundle
}

// How the engine and the registries report rate limits, temporary failures and refusals. The
// words are those of Docker 20.10 to 29 (distribution's error codes, and Go's network errors).
var (
	limitedWords = regexp.MustCompile(`(?i)toomanyrequests|too many requests|status(?: code)?:? 429|rate limit`)
	busyWords    = regexp.MustCompile(`(?i)status(?: code)?:? 5\d\d|\b50[0234] |unavailable|timeout|timed out|deadline exceeded|connection re(?:set|fused)|unexpected EOF|\bEOF$|temporary failure|TLS handshake|download failed after`)
	refusedWords = regexp.MustCompile(`(?i)unauthorized|denied|manifest unknown|manifest for .* not found|not found: manifest|no basic auth|repository does not exist`)
)

// registryError classifies an engine's message about a pull.
func registryError(words string) *RegistryError {
	e := &RegistryError{Reason: strings.Join(strings.Fields(words), " ")}
	e.Limited = limitedWords.MatchString(words)
	e.Refused = !e.Limited && refusedWords.MatchString(words)
	return e
}

// again reports whether a later attempt may succeed.
func (e *RegistryError) again() bool {
	return e.Limited || !e.Refused && busyWords.MatchString(e.Reason)
}

// pauses are the delays before each retry of a pull.
var pauses = []time.Duration{5 * time.Second, 15 * time.Second, 45 * time.Second}

// patiently retries a pull until it succeeds, cannot succeed or has been tried often enough. It
// passes the reason for each wait to hear.
func patiently(ctx context.Context, hear func(what string), pull func() (words string, err error)) error {
	for attempt := 0; ; attempt++ {
		words, err := pull()
		if err == nil || ctx.Err() != nil || words == "" {
			return err
		}
		failed := registryError(words)
		if !failed.again() || attempt == len(pauses) {
			return failed
		}
		why := "the registry does not answer as it should"
		if failed.Limited {
			why = "the registry limits how many images this address may fetch"
		}
		hear(fmt.Sprintf("%s; attempt %d of %d in %s", why, attempt+2, len(pauses)+1, pauses[attempt]))
		timer := time.NewTimer(pauses[attempt])
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
