package event

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"appliance/bridge/queue"
)

const (
	// MaxSize bounds what is stored of one event, in bytes: the largest document of
	// MongoDB. An event of Matrix has at most 65,536 without what servers add.
	MaxSize = 16 << 20
	// maxDepth bounds how deep lists and objects of an event are nested. Rocket.Chat
	// nests quotations two deep, and no client nests the content of an event so far.
	maxDepth = 200
)

var (
	// ErrKind is wrapped by Decode for a kind of event that this release does not know.
	ErrKind = errors.New("this kind of event is not known to this release")
	// ErrSize is wrapped for an event that is larger than MaxSize or nested too deep.
	ErrSize = errors.New("it is larger or nested deeper than any event is")
	errForm = errors.New("it is not a JSON object")
)

// A VersionError says that an event was stored by a release that is newer than this.
type VersionError struct {
	Kind          string
	Version, Know int // what it has, and the newest that this release reads
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("it was stored by a newer release: version %d of %s, and this release reads versions up to %d", e.Version, e.Kind, e.Know)
}

// The version stands at the end of the source, as its last key. So the release before
// reads what this one stores: it takes the key for one of the many that it does not
// know. That matters when an upgrade is rolled back on the database as it is, and
// while processes of two releases share one. Nothing that a sender writes comes after
// it, so nobody else can set it. A bare identifier cannot carry it, which makes it
// version 0; a later release may replace the identifier by an object with a version.
const versionKey = `"org.appliance.v":`

// maxVersionDigits bounds a version that is read.
const maxVersionDigits = 9

// Version returns the version of the form of a stored event, 0 for one of the
// releases that knew no versions.
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

// Encode returns an event in the form in which it is stored.
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

// Item returns the item under which an event waits in a lane. id is unique for ever.
func Item(id, lane string, e Event) (queue.Item, error) {
	payload, err := Encode(e)
	if err != nil {
		return queue.Item{}, fmt.Errorf("store the event %s: %w", id, err)
	}
	return queue.Item{ID: id, Lane: lane, Kind: e.Kind(), Payload: payload}, nil
}

// Decode reads a stored event: of this release or of an earlier one. The error wraps
// ErrKind or ErrSize, or is a *VersionError, or says what cannot be read; it quotes
// nothing of the event.
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

// withKeys returns a JSON object with more keys at its end, which win over earlier
// ones of the same name.
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
		rest = rest[:1] // Version looks for the first key just behind the brace
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

// bounded refuses what is larger or nested deeper than any event. Of what is no JSON
// the depth may be wrong; it cannot be read anyway.
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
				i++ // what is escaped ends no string
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
