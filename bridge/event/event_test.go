package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

func fixture(kind string, version int) string {
	return filepath.Join("testdata", fmt.Sprintf("%s.v%d", kind, version))
}

// shown returns an event as a reader of the fixture sees it.
func shown(t *testing.T, e Event) []byte {
	t.Helper()
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// Whatever any release has stored can be read, and means what it meant. The files of a
// version are written once and stay: a change of the format raises the version, adds
// the file of the new one (UPDATE_GOLDEN=1 does so) and keeps the old.
func TestEveryVersionOfEveryKindIsRead(t *testing.T) {
	t.Parallel()
	update := os.Getenv("UPDATE_GOLDEN") != ""
	for _, kind := range Kinds() {
		newest := forms[kind].version
		golden := filepath.Join("testdata", kind+".golden")
		for version := 0; version <= newest; version++ {
			stored, err := os.ReadFile(fixture(kind, version))
			if errors.Is(err, os.ErrNotExist) && update && version == newest && version > 0 {
				stored = writeFixture(t, kind, version)
			} else if err != nil {
				t.Errorf("%s has no example of version %d: %v", kind, version, err)
				continue
			}
			if got := Version(stored); got != version {
				t.Errorf("%s: the example of version %d has version %d", kind, version, got)
			}
			e, err := Decode(kind, stored)
			if err != nil || e.Kind() != kind {
				t.Errorf("%s, version %d: %v, %v", kind, version, e, err)
				continue
			}
			want, err := os.ReadFile(golden)
			if errors.Is(err, os.ErrNotExist) && update {
				want = shown(t, e)
				err = os.WriteFile(golden, want, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(t, e); !bytes.Equal(got, want) {
				t.Errorf("%s, version %d, is read as\n%s\nwant\n%s", kind, version, got, want)
			}
			if again, err := Encode(e); err != nil || version == newest && !bytes.Equal(again, stored) {
				t.Errorf("%s: read and stored again it is\n%s\nwant\n%s\n%v", kind, again, stored, err)
			}
		}
	}
}

func writeFixture(t *testing.T, kind string, version int) []byte {
	t.Helper()
	old, err := os.ReadFile(fixture(kind, version-1))
	if err != nil {
		t.Fatal(err)
	}
	e, err := Decode(kind, old)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fixture(kind, version), stored, 0o600); err != nil {
		t.Fatal(err)
	}
	return stored
}

// A fixture of a kind that no longer exists would be read by no test.
func TestEveryFixtureIsOfAKind(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 2*len(forms) {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		kind := strings.TrimSuffix(name, filepath.Ext(name))
		if _, known := forms[kind]; !known {
			t.Errorf("%s is of no kind of event", file)
		}
	}
}

// The previous release can read what this one stores: a rollback uses the same
// database, and both run side by side while several processes are replaced one by
// one. The previous release knew no versions and read each kind as is done here.
func TestThePreviousReleaseReadsWhatIsStored(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		before, err := os.ReadFile(fixture(kind, 0))
		if err != nil {
			t.Fatal(err)
		}
		e, err := Decode(kind, before)
		if err != nil {
			t.Fatal(err)
		}
		now, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if forms[kind].version == 0 {
			if !bytes.Equal(now, before) {
				t.Errorf("%s: stored as %s, was %s", kind, now, before)
			}
			continue
		}
		was, is := reflect.New(previous(kind)), reflect.New(previous(kind))
		if err := errors.Join(json.Unmarshal(before, was.Interface()), json.Unmarshal(now, is.Interface())); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if m, ok := is.Interface().(*map[string]any); ok {
			delete(*m, "org.appliance.v")
		}
		if !reflect.DeepEqual(was.Interface(), is.Interface()) {
			t.Errorf("%s: the previous release reads %v, and read %v", kind, is.Elem(), was.Elem())
		}
	}
}

// previous returns the type into which the previous release decoded a kind.
func previous(kind string) reflect.Type {
	if strings.HasPrefix(kind, "rc.") && kind != KindRCInvite && kind != KindRCDirect {
		return reflect.TypeFor[rocketchat.Message]()
	}
	return reflect.TypeFor[map[string]any]()
}

func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	deep := `{"content":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`
	var version *VersionError
	for name, c := range map[string]struct {
		kind, stored string
		is           func(error) bool
	}{
		"a kind of a newer release":       {"rc.hologram", `{}`, func(err error) bool { return errors.Is(err, ErrKind) }},
		"a version of a newer release":    {KindRCMessage, `{"_id":"m","org.appliance.v":7}`, func(err error) bool { return errors.As(err, &version) && version.Version == 7 && version.Know == 1 }},
		"an identifier of a newer one":    {KindMXPerson, `{"user":"@a:x","org.appliance.v":1}`, func(err error) bool { return errors.As(err, &version) && version.Know == 0 }},
		"no JSON":                         {KindMXMessage, `{"event_id":`, func(err error) bool { return err != nil }},
		"a list":                          {KindMXMessage, `[]`, func(err error) bool { return err != nil }},
		"an invitation of another shape":  {KindMXInvite, `{"room_id":7}`, func(err error) bool { return err != nil }},
		"what is nested deep":             {KindMXMessage, deep, func(err error) bool { return errors.Is(err, ErrSize) }},
		"what is nested deep in a string": {KindMXMessage, `{"body":"\"` + strings.Repeat("[", 5000) + `"}`, func(err error) bool { return err == nil }},
		"what is large":                   {KindMXPerson, strings.Repeat("x", MaxSize+1), func(err error) bool { return errors.Is(err, ErrSize) }},
	} {
		if e, err := Decode(c.kind, []byte(c.stored)); !c.is(err) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	if !strings.Contains(version.Error(), "newer release") {
		t.Error(version)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]int{
		"": 0, "}": 0, "{}": 0, "@a:x": 0, `{"a":1}`: 0, `{"a":"\"org.appliance.v\":5"}`: 0,
		`{"org.appliance.v":2}`: 2, `{"a":{},"org.appliance.v":12}`: 12,
		`{"org.appliance.v":2,"a":1}`: 0, `{"a":{"org.appliance.v":2}}`: 0, `"org.appliance.v":2}`: 0,
		`{"x\"org.appliance.v":2}`: 0, `{"org.appliance.v":}`: 0, `{"org.appliance.v":-1}`: 0, `{"org.appliance.v":12345678901}`: 0,
	} {
		if got := Version([]byte(stored)); got != want {
			t.Errorf("%s has version %d, want %d", stored, got, want)
		}
	}
}

// A sender controls the content of an event, but not its version or its room.
func TestASenderSetsNeitherVersionNorRoom(t *testing.T) {
	t.Parallel()
	raw := `{"event_id":"$e","room_id":"!other:x","sender":"@a:x","type":"m.room.message","content":{"body":"b"},"org.appliance.v":99}`
	_, e, err := ReadMatrix([]byte(raw), "!room:x")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(KindMXMessage, stored)
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := again.(MXWritten); m.Room != "!room:x" || m.Event.Room != "!room:x" || m.Event.Content.Body != "b" {
		t.Errorf("%+v", again)
	}
	// The previous release, and any reader that uses only the last of several equal keys.
	if e, err := convert.ParseEvent(stored); err != nil || e.Room != "!room:x" {
		t.Error(e, err)
	}
}

// Each type of Matrix event becomes what the bridge does with it.
func TestReadMatrix(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"type":"m.room.message"`: KindMXMessage, `"type":"m.sticker"`: KindMXMessage, `"type":"m.reaction"`: KindMXReact,
		`"type":"m.room.redaction"`: KindMXRedact, `"type":"m.room.encrypted"`: KindMXSecret,
		`"type":"m.call.invite"`: KindMXCall, `"type":"m.call.member","state_key":"@a:x"`: KindMXCall,
		`"type":"m.poll.start"`: KindMXPoll, `"type":"org.matrix.msc3381.poll.end"`: KindMXPoll,
		`"type":"m.room.member","state_key":"@a:x"`: KindMXMember, `"type":"m.room.member"`: "",
		`"type":"m.room.name","state_key":""`: KindMXRoom, `"type":"m.room.pinned_events"`: KindMXRoom, `"type":"m.room.name","state_key":"x"`: "",
		`"type":"m.room.create"`: "", `"type":"org.appliance.checkpoint"`: "", `"type":7`: "",
		`"type":"m.room.message","TYPE":"m.reaction"`: KindMXMessage,
	} {
		head, e, err := ReadMatrix([]byte(`{"event_id":"$e","sender":"@a:x","origin_server_ts":5,`+in+`}`), "!r:x")
		got := ""
		if e != nil {
			got = e.Kind()
		}
		if err != nil || got != want || head.ID != "$e" || head.Room != "!r:x" || head.Sender != "@a:x" || head.Time != 5 {
			t.Errorf("%s is %q, want %q: %+v, %v", in, got, want, head, err)
		}
	}
	for _, in := range []string{`{"type":"m.room.message","event_id":"$e"}`, `{"type":"m.room.message","room_id":"!r:x"}`} {
		if _, e, err := ReadMatrix([]byte(in), ""); e != nil || err != nil {
			t.Errorf("%s: %v, %v", in, e, err)
		}
	}
	for _, in := range []string{
		`{"type":"m.room.message","event_id":"$` + strings.Repeat("e", 300) + `","room_id":"!r:x"}`,
		`{"type":"m.room.message","event_id":"$e","content":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`,
		`x`, `null`,
	} {
		if _, e, err := ReadMatrix([]byte(in), "!r:x"); e != nil || err == nil {
			t.Errorf("%.40s: %v, %v", in, e, err)
		}
	}
}

// Each type of system message becomes what the bridge does with it.
func TestOfSystemMessage(t *testing.T) {
	t.Parallel()
	by := rocketchat.UserRef{ID: "a", Username: "alice"}
	for kind, want := range map[string]Event{
		"uj":                      RCMember{Change: Joined, By: by, Username: "alice"},
		"ult":                     RCMember{Change: Left, By: by, Username: "alice"},
		"au":                      RCMember{Change: Added, By: by, Username: "bob"},
		"removed-user-from-team":  RCMember{Change: Removed, By: by, Username: "bob"},
		"user-banned":             RCMember{Change: Banned, By: by, Username: "bob"},
		"user-unbanned":           RCMember{Change: Unbanned, By: by, Username: "bob"},
		"r":                       RCRoom{Change: Name},
		"room-archived":           RCRoom{Change: Writers},
		"subscription-role-added": RCRoom{Change: Roles},
		"rm":                      RCDeleted{}, "e2e": RCUnreadable{},
		"": nil, "hologram": nil, "user-muted": nil,
	} {
		m := rocketchat.Message{ID: "m", RoomID: "r", Type: kind, Text: "bob", User: by}
		got, ok := OfSystemMessage(m)
		switch e := want.(type) {
		case RCMember:
			e.Message = m
			want = e
		case RCRoom:
			e.Message = m
			want = e
		case RCDeleted:
			want = RCDeleted{m}
		case RCUnreadable:
			want = RCUnreadable{m}
		}
		if ok != (want != nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, want %+v", kind, got, want)
		}
	}
	for kind, want := range map[string]string{"videoconf": "_started a call in Rocket.Chat_", "discussion-created": "_started a discussion:_ bob"} {
		got, ok := OfSystemMessage(rocketchat.Message{Type: kind, Text: " bob "})
		if e, is := got.(RCWritten); !ok || !is || e.Message.Text != want || e.Message.Type != "" {
			t.Errorf("%s is %+v", kind, got)
		}
	}
}

// FuzzDecode: stored data ultimately comes from strangers. Whatever can be read can be
// stored again, and is then the same.
func FuzzDecode(f *testing.F) {
	all := Kinds()
	for i, kind := range all {
		for version := range forms[kind].version + 1 {
			stored, err := os.ReadFile(fixture(kind, version))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), stored)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, stored []byte) {
		kind := all[int(which)%len(all)]
		e, err := Decode(kind, stored)
		if err != nil {
			return
		}
		once, err := Encode(e)
		if err != nil {
			return // null, for one, is read as an empty event
		}
		again, err := Decode(kind, once)
		if err != nil {
			t.Fatalf("%s: %q was stored as %q: %v", kind, stored, once, err)
		}
		twice, err := Encode(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s: %q was stored as %q and then as %q: %v", kind, stored, once, twice, err)
		}
	})
}

// FuzzReadMatrix: an event is read the same at delivery as it was at intake.
func FuzzReadMatrix(f *testing.F) {
	for _, kind := range Kinds() {
		if stored, err := os.ReadFile(fixture(kind, 0)); err == nil && strings.HasPrefix(kind, "mx.") {
			f.Add(stored, "!room:chat.example.org")
			f.Add(stored, "!other:x")
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, room string) {
		_, e, err := ReadMatrix(raw, ids.MXRoom(strings.ToValidUTF8(room, "")))
		if err != nil || e == nil {
			return
		}
		stored, err := Encode(e)
		if err != nil {
			t.Fatalf("%q cannot be stored: %v", raw, err)
		}
		again, err := Decode(e.Kind(), stored)
		if err != nil {
			t.Fatalf("%q was stored as %q: %v", raw, stored, err)
		}
		if was, is := shown(t, e), shown(t, again); !bytes.Equal(was, is) {
			t.Fatalf("%q was\n%s\nand is\n%s", raw, was, is)
		}
	})
}
