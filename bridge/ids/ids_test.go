package ids_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"appliance/bridge/ids"
)

var native = ids.Namespace{Server: "example.org", Bot: "rocket.cat"}

func TestGhostsKeepTheFormatsThatAreStored(t *testing.T) {
	prefixed := ids.Namespace{Server: "example.org", Prefix: "rc_", Bot: "rocket.cat"}
	for _, tc := range []struct {
		ns       ids.Namespace
		username string
		attempt  int
		want     ids.MXUser
	}{
		{native, "alice", 0, "@alice:example.org"},
		{native, "Alice.B-c_d", 0, "@alice.b-c_d:example.org"},
		{native, "jörg", 0, "@j=c3=b6rg:example.org"},
		{native, "1234", 0, "@=31234:example.org"},
		{native, "alice", 1, "@alice-2:example.org"},
		{prefixed, "1234", 0, "@rc_1234:example.org"},
	} {
		if got, ok := tc.ns.Ghost(tc.username, tc.attempt); !ok || got != tc.want {
			t.Errorf("Ghost(%q, %d) = %q, want %q", tc.username, tc.attempt, got, tc.want)
		}
	}
	if _, ok := native.Ghost(strings.Repeat("ü", 100), 0); ok {
		t.Error("a name that does not fit was accepted")
	}
}

func TestGhostAndUsernameAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := strings.ToLower(rapid.StringMatching(`[0-9a-zA-Z_.\-äπ=]{1,40}`).Draw(t, "name"))
		mx, ok := native.Ghost(name, 0)
		if !ok {
			t.Skip("too long")
		}
		if back, ok := native.Username(mx); !ok || back != name {
			t.Fatalf("%q -> %q -> %q", name, mx, back)
		}
		if !native.Owns(mx) {
			t.Fatalf("%q is not ours", mx)
		}
	})
}

func TestThePuppetNameIsNeverAFederatedOne(t *testing.T) {
	for mx, want := range map[ids.MXUser]string{
		"@bob:matrix.org": "bob_matrix.org",
		"@b o b:x.org":    "b-o-b_x.org-",
		"@bob:x.org:8448": "bob_x.org-8448-",
	} {
		if got := ids.PuppetUsername(mx, false); !strings.HasPrefix(got, want) {
			t.Errorf("PuppetUsername(%q) = %q", mx, got)
		}
	}
	allowed := regexp.MustCompile(`^[0-9a-zA-Z._-]{1,64}$`)
	rapid.Check(t, func(t *rapid.T) {
		mx := ids.MXUser("@" + rapid.StringN(1, 100, 200).Draw(t, "local") + ":" + rapid.StringMatching(`[a-z0-9.]{1,50}`).Draw(t, "server"))
		if got := ids.PuppetUsername(mx, rapid.Bool().Draw(t, "unique")); !allowed.MatchString(got) {
			t.Fatalf("PuppetUsername(%q) = %q", mx, got)
		}
	})
}

func TestDerivedIDsKeepTheirForm(t *testing.T) {
	if got := ids.MessageFor("!r:x", "$e", 0); got != ids.MessageFor("!r:x", "$e", 0) || len(got) != 24 {
		t.Errorf("MessageFor = %q", got)
	}
	if ids.MessageFor("!r:x", "$e", 0) == ids.MessageFor("!r:x", "$e", 1) {
		t.Error("two parts share an ID")
	}
	if ids.Transaction("@a:x", "m1", 0) == ids.Transaction("@b:x", "m1", 0) {
		t.Error("two ghosts share a transaction")
	}
}

func TestParseUserSaysWhatAnAddressLooksLike(t *testing.T) {
	for _, s := range []string{"@bob:matrix.org", "bob:matrix.org", " @bob:x.org:8448 ", "@Bob:[::1]:8448"} {
		if _, err := ids.ParseUser(s); err != nil {
			t.Errorf("ParseUser(%q): %v", s, err)
		}
	}
	for _, s := range []string{"", "bob", "@bob", "@:x.org", "bob:", "@bob:x org", "@bob:x.org/..", "#room:x.org", "@bob:" + strings.Repeat("x", 300)} {
		if mx, err := ids.ParseUser(s); err == nil {
			t.Errorf("ParseUser(%q) = %q", s, mx)
		}
	}
}

func FuzzParseUser(f *testing.F) {
	f.Add("@bob:matrix.org")
	f.Fuzz(func(t *testing.T, s string) {
		mx, err := ids.ParseUser(s)
		if err != nil {
			return
		}
		if again, err := ids.ParseUser(string(mx)); err != nil || again != mx {
			t.Errorf("%q -> %q -> %q, %v", s, mx, again, err)
		}
	})
}

// A prefix is the beginning of a localpart. Addresses are made with it, and read back.
func TestPrefixes(t *testing.T) {
	for _, wrong := range []string{"", "Acme_", "a b", "a:", "@a_", "a=", "ä", strings.Repeat("a", 33)} {
		if ids.CheckPrefix(wrong) == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	for right, alias := range map[string]string{"rc_": "rocketchat_", "acme_": "acme_", "team/1-": "team/1-"} {
		n := ids.Namespace{Server: "example.org", Prefix: right, Bot: right + "rocket.cat"}
		mx, ok := n.Ghost("Alice", 0)
		if back, known := n.Username(mx); ids.CheckPrefix(right) != nil || !ok || !known || back != "alice" || mx != ids.MXUser("@"+right+"alice:example.org") {
			t.Errorf("%s: alice is %s and again %q", right, mx, back)
		}
		if n.Owns("@alice:example.org") || n.Owns("@other_alice:example.org") || !n.Owns(mx) || n.AliasPrefix() != alias {
			t.Errorf("%s: what is owned, or the alias %s", right, n.AliasPrefix())
		}
	}
}
