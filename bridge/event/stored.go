package event

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"appliance/bridge/queue"
)

const (
	// MaxSize bounds the stored size of an event, in bytes: the largest document of
	// MongoDB. A Matrix event has at most 65,536 without what servers add.
	MaxSize = 16 << 20
	// maxDepth bounds how deep the lists and objects of an event may be nested. Rocket.Chat
	// nests quotations two deep, and no client nests the content of an event this far.
	maxDepth = 200
)

var (
	// ErrKind is wrapped by Decode for a kind of event that this release does not know.
	ErrKind = errors.New("this kind of event is not known to this release")
	// ErrSize is wrapped for an event that is larger than MaxSize or nested too deep.
	ErrSize = errors.New("it is larger or nested deeper than any event is")
	errForm = errors.New("it is not a JSON object")
)

// A VersionError means that an event was stored by a release newer than this one.
type VersionError struct {
	Kind          string
	Version, Know int // the event's version, and the newest that this release reads
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("it was stored by a newer release: version %d of %s, and this release reads versions up to %d", e.Version, e.Kind, e.Know)
}

// The version is the last key of the source, so the previous release can still read
// what this one stores: to it, this is one of the many keys that it does not know. That
// matters when an upgrade is rolled back without restoring the database, and while
// processes of two releases share one. Nothing that a sender writes comes after the
// key, so nobody else can set it. A bare identifier cannot hold a version and thus has
// version 0; a later release may replace the identifier with an object that has one.
const versionKey = `"org.appliance.v":`

// maxVersionDigits bounds the length of a version.
const maxVersionDigits = 9

// Version returns the version of a stored event's form, 0 for one from a release
// that had no versions.
func Version(stored []byte) int {
	rest, ok := bytes.CutSuffix(stored, []byte("}"))
	if !ok {
		return 0
	}
	digits := len(rest)
	for digits > 0 && len(rest)-digits < maxVersionDigits && rest[digits-1] >= '0' && rest[digits-1] <= '9' {
		digits--
	}
	before, ok := bytes.CutSuffix(rest[:digits], []byte(versionKey))
	if !ok || len(before) == 0 || before[len(before)-1] != ',' && !(len(before) == 1 && before[0] == '{') {
		return 0
	}
	n, err := strconv.Atoi(string(rest[digits:]))
	if err != nil {
		return 0
	}
	return n
}

// Encode returns an event in its stored form.
func Encode(e Event) ([]byte, error) {
	f, ok := forms[e.Kind()]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrKind, e.Kind())
	}
	source, err := e.source()
	if err != nil || f.version == 0 || Version(source) == f.version {
		return source, err
	}
	return withKeys(source, versionKey+strconv.Itoa(f.version))
}

// Item returns the queue item for an event in a lane. id is unique for all time.
func Item(id, lane string, e Event) (queue.Item, error) {
	payload, err := Encode(e)
	if err != nil {
		return queue.Item{}, fmt.Errorf("store the event %s: %w", id, err)
	}
	return queue.Item{ID: id, Lane: lane, Kind: e.Kind(), Payload: payload}, nil
}

// Decode reads an event that was stored by this release or an earlier one. The error
// wraps ErrKind or ErrSize, or is a *VersionError, or describes what cannot be read;
// it never quotes the event.
func Decode(kind string, stored []byte) (Event, error) {
	f, ok := forms[kind]
	if !ok {
		return nil, ErrKind
	}
	if err := bounded(stored); err != nil {
		return nil, err
	}
	if v := Version(stored); v > f.version {
		return nil, &VersionError{Kind: kind, Version: v, Know: f.version}
	}
	return f.decode(stored)
}

// withKeys appends keys to a JSON object. They override earlier keys of the same
// name.
func withKeys(object []byte, keys ...string) ([]byte, error) {
	object = bytes.TrimSpace(object)
	rest, ok := bytes.CutSuffix(object, []byte("}"))
	if !ok || object[0] != '{' {
		return nil, errForm
	}
	n := len(object)
	for _, k := range keys {
		n += len(k) + 1
	}
	empty := len(bytes.TrimSpace(rest)) == 1
	if empty {
		rest = rest[:1] // Version looks for the first key right after the brace
	}
	out := append(make([]byte, 0, n), rest...)
	for _, k := range keys {
		if !empty {
			out = append(out, ',')
		}
		out, empty = append(out, k...), false
	}
	return append(out, '}'), nil
}

// bounded rejects data that is larger or nested deeper than any event. For data that
// is not JSON the depth may be wrong; it cannot be parsed anyway.
func bounded(data []byte) error {
	if len(data) > MaxSize {
		return ErrSize
	}
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			quoted = !quoted
		case '\\':
			if quoted {
				i++ // an escaped character does not end a string
			}
		case '[', '{':
			if !quoted {
				depth++
			}
		case ']', '}':
			if !quoted {
				depth--
			}
		}
		if depth > maxDepth {
			return ErrSize
		}
	}
	return nil
}
