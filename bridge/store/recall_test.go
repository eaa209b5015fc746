package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// What is cached in memory is what is stored, after each kind of write.
func TestPeopleAndPortalsAreWhatWasWrittenLast(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for _, name := range []string{"", "Alice", "Alice B."} {
			if name != "" {
				mustWrite(t, s.PutGhost(t.Context(), model.Ghost{RCUser: "u", MXUser: "@alice:x", Username: "alice", Name: name}))
				mustWrite(t, s.PutPuppet(t.Context(), model.Puppet{RCUser: "v", MXUser: "@bob:y", Username: "bob", Name: name, Token: secret.New(name)}))
			}
			for range 2 { // also when it was looked up before
				recalls(t, "ghost by rc", name, func(ctx context.Context) (string, bool, error) {
					g, ok, err := s.GhostByRC(ctx, "u")
					return g.Name, ok, err
				})
				recalls(t, "ghost by mx", name, func(ctx context.Context) (string, bool, error) {
					g, ok, err := s.GhostByMX(ctx, "@alice:x")
					return g.Name, ok, err
				})
				recalls(t, "puppet by mx", name, func(ctx context.Context) (string, bool, error) {
					p, ok, err := s.PuppetByMX(ctx, "@bob:y")
					return p.Token.Reveal(), ok, err
				})
				recalls(t, "puppet by rc", name, func(ctx context.Context) (string, bool, error) {
					p, ok, err := s.PuppetByRC(ctx, "v")
					return p.Name, ok, err
				})
				recalls(t, "puppet by name", name, func(ctx context.Context) (string, bool, error) {
					p, ok, err := s.PuppetByUsername(ctx, "Bob")
					return p.Name, ok, err
				})
			}
		}
	})
}

func TestAPortalIsFoundAsSoonAsItsFirstItem(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		p := model.Portal{RCRoom: "r", MXRoom: "!m:x", RCType: "p", Created: time.UnixMilli(5).UTC()}
		byEither := func(want ids.MXRoom) {
			t.Helper()
			for range 2 {
				recalls(t, "portal by rc", string(want), func(ctx context.Context) (string, bool, error) {
					got, ok, err := s.PortalByRC(ctx, "r")
					return string(got.MXRoom), ok, err
				})
				if want != "" {
					recalls(t, "portal by mx", "r", func(ctx context.Context) (string, bool, error) {
						got, ok, err := s.PortalByMX(ctx, want)
						return string(got.RCRoom), ok, err
					})
				}
			}
		}
		byEither("")
		// The item may be claimed before PutPortal has returned.
		found := make(chan bool, 1)
		go func() {
			for t.Context().Err() == nil {
				if _, ok, _ := s.Claim(t.Context(), queue.Messages, time.Now()); ok {
					_, there, _ := s.PortalByRC(t.Context(), "r")
					found <- there
					return
				}
			}
		}()
		mustWrite(t, s.PutPortal(t.Context(), p, []queue.Item{{ID: "members", Lane: "rc:r"}}, nil))
		select {
		case there := <-found:
			if !there {
				t.Error("the first item of a portal was claimed, and there was no portal")
			}
		case <-time.After(time.Minute):
			t.Fatal("the item was not claimed")
		}
		byEither("!m:x")
		p.MXRoom = "!n:x"
		mustWrite(t, s.PutPortal(t.Context(), p, nil, nil))
		byEither("!n:x")
		mustWrite(t, s.SetTitle(t.Context(), "r", "General"))
		if got, _, err := s.PortalByRC(t.Context(), "r"); err != nil || got.Title != "General" {
			t.Errorf("portal %+v, %v", got, err)
		}
		mustWrite(t, s.DropPortal(t.Context(), p))
		byEither("")
	})
}

func TestADoubleIsFoundUntilItIsDropped(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		token := func(want string) {
			t.Helper()
			for range 2 {
				recalls(t, "double by mx", want, func(ctx context.Context) (string, bool, error) {
					d, ok, err := s.DoubleByMX(ctx, "@bob:y")
					return d.Token.Reveal(), ok, err
				})
				recalls(t, "double by rc", want, func(ctx context.Context) (string, bool, error) {
					d, ok, err := s.DoubleByRC(ctx, "b")
					return d.Token.Reveal(), ok, err
				})
			}
		}
		token("")
		c := model.Claim{RCUser: "b", Username: "bob", MXUser: "@bob:y", Digest: "d", Expires: time.Now().Add(time.Minute)}
		d := model.Double{MXUser: "@bob:y", RCUser: "b", Username: "bob", Token: secret.New("one"), Since: time.Now()}
		mustWrite(t, s.PutClaim(t.Context(), c))
		if ok, err := s.PutDouble(t.Context(), d, c); !ok || err != nil {
			t.Fatal(ok, err)
		}
		token("one")
		d.Token = secret.New("two")
		mustWrite(t, s.RenewDouble(t.Context(), d))
		token("two")
		mustWrite(t, s.DropDouble(t.Context(), d))
		token("")
	})
}

// recalls compares what is found with what was written last; "" means nothing.
func recalls(t *testing.T, what, want string, get func(context.Context) (string, bool, error)) {
	t.Helper()
	got, ok, err := get(t.Context())
	if err != nil || got != want || ok != (want != "") {
		t.Errorf("%s: %q, %v, %v; written was %q", what, got, ok, err, want)
	}
}

func mustWrite(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A process forgets a cached row before it delivers an item that another process accepted
// after it had changed that row.
func TestWhatAnotherProcessHasChangedIsNotRecalled(t *testing.T) {
	url := postgresURL(t)
	one, other := open(t, url), open(t, url)
	mustWrite(t, one.PutGhost(t.Context(), model.Ghost{RCUser: "u", MXUser: "@alice:x", Username: "alice", Name: "Alice"}))
	mustWrite(t, one.PutPuppet(t.Context(), model.Puppet{RCUser: "v", MXUser: "@bob:y", Username: "bob", Name: "Bob", Token: secret.New("t")}))
	p := model.Portal{RCRoom: "r", MXRoom: "!m:x", RCType: "p", Created: time.UnixMilli(5).UTC()}
	mustWrite(t, one.PutPortal(t.Context(), p, nil, nil))
	c := model.Claim{RCUser: "b", Username: "bob", MXUser: "@bob:y", Digest: "d", Expires: time.Now().Add(time.Minute)}
	d := model.Double{MXUser: "@bob:y", RCUser: "b", Username: "bob", Token: secret.New("one"), Since: time.Now()}
	mustWrite(t, one.PutClaim(t.Context(), c))
	if ok, err := one.PutDouble(t.Context(), d, c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	delivered := 0
	deliver := func() {
		t.Helper()
		delivered++
		mustWrite(t, accept(t.Context(), one, fmt.Sprint("item ", delivered)))
		mustWrite(t, other.Done(t.Context(), next(t.Context(), t, other), nil, nil))
	}
	read := func(step, what, want string, get func(context.Context) (string, bool, error)) {
		t.Helper()
		recalls(t, step+": "+what, want, get)
	}
	everything := func(step, ghost, puppet, portal, double string) {
		t.Helper()
		read(step, "ghost", ghost, func(ctx context.Context) (string, bool, error) {
			g, ok, err := other.GhostByRC(ctx, "u")
			return g.Name, ok, err
		})
		read(step, "puppet", puppet, func(ctx context.Context) (string, bool, error) {
			p, ok, err := other.PuppetByMX(ctx, "@bob:y")
			return p.Name, ok, err
		})
		read(step, "portal", portal, func(ctx context.Context) (string, bool, error) {
			p, ok, err := other.PortalByRC(ctx, "r")
			return string(p.MXRoom), ok, err
		})
		read(step, "double", double, func(ctx context.Context) (string, bool, error) {
			d, ok, err := other.DoubleByMX(ctx, "@bob:y")
			return d.Token.Reveal(), ok, err
		})
	}
	warm := func(ghost, puppet, portal, double string) {
		t.Helper()
		deliver()
		for range 2 {
			everything("before", ghost, puppet, portal, double)
		}
	}
	warm("Alice", "Bob", "!m:x", "one")
	mustWrite(t, one.PutGhost(t.Context(), model.Ghost{RCUser: "u", MXUser: "@alice:x", Username: "alice", Name: "Alice B."}))
	deliver()
	everything("the ghost changed", "Alice B.", "Bob", "!m:x", "one")
	warm("Alice B.", "Bob", "!m:x", "one")
	mustWrite(t, one.PutPuppet(t.Context(), model.Puppet{RCUser: "v", MXUser: "@bob:y", Username: "bob", Name: "Bobby", Token: secret.New("t")}))
	deliver()
	everything("the puppet changed", "Alice B.", "Bobby", "!m:x", "one")
	warm("Alice B.", "Bobby", "!m:x", "one")
	p.MXRoom = "!n:x"
	mustWrite(t, one.PutPortal(t.Context(), p, nil, nil))
	d.Token = secret.New("two")
	mustWrite(t, one.RenewDouble(t.Context(), d))
	deliver()
	everything("the portal and the double changed", "Alice B.", "Bobby", "!n:x", "two")
	warm("Alice B.", "Bobby", "!n:x", "two")
	mustWrite(t, one.DropPortal(t.Context(), p))
	mustWrite(t, one.DropDouble(t.Context(), d))
	deliver()
	everything("the portal and the double are gone", "Alice B.", "Bobby", "", "")
	warm("Alice B.", "Bobby", "", "")
	mustWrite(t, one.PutPortal(t.Context(), p, nil, nil))
	everything("the portal is there again", "Alice B.", "Bobby", "!n:x", "")
	mustWrite(t, one.PutClaim(t.Context(), c))
	if ok, err := one.PutDouble(t.Context(), d, c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := other.Seen(t.Context(), []string{"a message is read"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	everything("the double is there again", "Alice B.", "Bobby", "!n:x", "two")
	mustWrite(t, one.DropDouble(t.Context(), d))
	deliver()

	// An operator's change, with a search_path of their own.
	warm("Alice B.", "Bobby", "!n:x", "")
	mine, _, _ := strings.Cut(url, "search_path=")
	db, err := sql.Open("pgx", mine+"search_path=pg_catalog")
	mustWrite(t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), `UPDATE test.ghosts SET name = 'A.'`)
	mustWrite(t, err)
	deliver()
	everything("an operator changed the ghost", "A.", "Bobby", "!n:x", "")

	// What another process does under a lock is known at once to the next one that locks.
	warm("A.", "Bobby", "!n:x", "")
	mustWrite(t, one.PutPuppet(t.Context(), model.Puppet{RCUser: "v", MXUser: "@bob:y", Username: "bob", Name: "Robert", Token: secret.New("t")}))
	unlock, err := other.Lock("puppet")
	mustWrite(t, err)
	everything("under a lock", "A.", "Robert", "!n:x", "")
	unlock()
}

// A process that has not heard from the database for a while trusts no cached row.
func TestNothingIsRecalledWithoutHearingFromTheDatabase(t *testing.T) {
	url := postgresURL(t)
	one, other := open(t, url), open(t, url)
	for n := range 20 {
		name := fmt.Sprint("Alice ", n)
		mustWrite(t, one.PutGhost(t.Context(), model.Ghost{RCUser: "u", MXUser: "@alice:x", Username: "alice", Name: name}))
		deadline := time.Now().Add(store.RecalledFor + 500*time.Millisecond)
		for {
			g, _, err := other.GhostByRC(t.Context(), "u")
			mustWrite(t, err)
			if g.Name == name {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q is recalled, written was %q", g.Name, name)
			}
		}
	}
}

// accept stores an item in a lane.
func accept(ctx context.Context, s *store.Store, id string) error {
	_, err := s.Accept(ctx, time.Now(), []queue.Item{{ID: id, Lane: "rc:r"}}, nil)
	return err
}
