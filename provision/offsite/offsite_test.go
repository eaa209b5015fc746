package offsite_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/offsite"
)

func silent(int64, int64) {}

// places returns a configuration for each of the two kinds of servers.
func places(t *testing.T) map[string]offsite.Config {
	t.Helper()
	s3 := server(t, "s3")
	key, public := userKey(t)
	ssh := server(t, "sftp", "OFFSITE_USER_KEY="+public)
	return map[string]offsite.Config{
		"s3":   {URL: "s3://" + s3[0] + "/backups/chat", Roots: roots(t), KeyFile: write(t, t.TempDir(), "keys", "AKIA1\ns3cret\n")},
		"sftp": {URL: "sftp://ops@" + ssh[0] + t.TempDir() + "/new/place", KeyFile: key, HostKey: ssh[1]},
	}
}

func open(t *testing.T, c offsite.Config) offsite.Store {
	t.Helper()
	s, err := offsite.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A file that was sent is listed, comes back unchanged, and can be removed.
func TestAFileGoesAwayAndComesBack(t *testing.T) {
	for kind, c := range places(t) {
		t.Run(kind, func(t *testing.T) {
			s := open(t, c)
			if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
				t.Fatalf("a new place has %v: %v", list, err)
			}
			file, sum := large(t, 40<<20)
			name := filepath.Base(file)
			if err := offsite.Send(t.Context(), s, file, silent); err != nil {
				t.Fatal(err)
			}
			list, err := s.List(t.Context())
			if err != nil || len(list) != 1 || list[0].Name != name || list[0].Size != 40<<20 {
				t.Fatalf("listed %v: %v", list, err)
			}
			back, err := s.Get(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			_, err = io.Copy(h, back)
			_ = back.Close()
			if err != nil || [sha256.Size]byte(h.Sum(nil)) != sum {
				t.Errorf("it came back different: %v", err)
			}
			if _, err := s.Get(t.Context(), "other"); hint(err) != "see what is there: appliance backup list" {
				t.Errorf("a file that is not there: %v, %q", err, hint(err))
			}
			if err := s.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("after removal there is %v: %v", list, err)
			}
		})
	}
}

// Sending a backup of 300 MB (by default 64 MB) and reading it back needs less than 32 MB of memory.
func TestSendingNeedsLittleMemoryWhateverTheSize(t *testing.T) {
	file, _ := large(t, int64(mustrun.Sized(300<<20, 64<<20)))
	for kind, c := range places(t) {
		t.Run(kind, func(t *testing.T) {
			s := open(t, c)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			before, most := m.Sys-m.HeapReleased, uint64(0)
			ctx, cancel := context.WithCancel(t.Context())
			watched := make(chan struct{})
			go func() {
				defer close(watched)
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for ctx.Err() == nil {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, m.Sys-m.HeapReleased)
					<-tick.C
				}
			}()
			err := offsite.Send(t.Context(), s, file, silent)
			cancel()
			<-watched
			if err != nil {
				t.Fatal(err)
			}
			extra := int64(most) - int64(before) //nolint:gosec // far below
			t.Logf("%.1f MB more than before", float64(extra)/1e6)
			if extra > 32<<20 {
				t.Errorf("it needed %.1f MB of memory, at most 32 are allowed", float64(extra)/1e6)
			}
		})
	}
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// For whatever reason S3 refuses, the operator is told what to do, in limited time. Nothing
// is left under the name there, and the file is intact.
func TestEachRefusalOfS3SaysWhatToDo(t *testing.T) {
	behind := server(t, "s3")[0]
	var d door
	keys := write(t, t.TempDir(), "keys", "AKIA1\ns3cret\n")
	c := offsite.Config{URL: "s3+http://" + d.open(t, behind) + "/backups", KeyFile: keys}
	s := open(t, c)
	file := write(t, t.TempDir(), "chat.example.test-20260101T000000Z.tar.zst.age", "small")
	for _, refusal := range []struct {
		status int
		code   string
		hint   string
		again  bool // worth another try
	}{
		{http.StatusServiceUnavailable, "SlowDown", "the next backup tries again", true},
		{http.StatusForbidden, "InvalidAccessKeyId", "correct the access key and the secret key in " + keys, false},
		{http.StatusForbidden, "SignatureDoesNotMatch", "correct the access key and the secret key in " + keys, false},
		{http.StatusForbidden, "AccessDenied", "let the access key list, read, write and delete in the bucket backups", false},
		{http.StatusForbidden, "QuotaExceeded", "make room there", false},
		{http.StatusInsufficientStorage, "XMinioStorageFull", "make room there", false},
	} {
		d.refuse(refusal.status, refusal.code)
		begin := time.Now()
		err := offsite.Send(t.Context(), s, file, silent)
		if err == nil || !strings.Contains(err.Error(), refusal.code) || !strings.Contains(hint(err), refusal.hint) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, %q", refusal.code, err, hint(err))
		}
		if again := d.tried.Load() > 1; again != refusal.again || time.Since(begin) > 30*time.Second {
			t.Errorf("%s: tried %d times in %s", refusal.code, d.tried.Load(), time.Since(begin))
		}
	}
	d.refuse(0, "")
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("there is %v: %v", list, err)
	}
	if err := offsite.Send(t.Context(), s, file, silent); err != nil {
		t.Errorf("once it works: %v", err)
	}

	late := offsite.Config{URL: "s3://" + server(t, "s3", "OFFSITE_YEAR=2020")[0] + "/backups", Roots: roots(t), KeyFile: keys}
	if err := offsite.Send(t.Context(), open(t, late), file, silent); !strings.HasPrefix(hint(err), "set the clock of this host") {
		t.Errorf("a skewed clock: %v, %q", err, hint(err))
	}
	gone := offsite.Config{URL: "s3://" + behind + "/nothere", Roots: roots(t), KeyFile: keys}
	if err := offsite.Send(t.Context(), open(t, gone), file, silent); hint(err) != "create the bucket nothere there" {
		t.Errorf("no bucket: %v, %q", err, hint(err))
	}
}

// An SFTP server must present the pinned key, and must accept ours.
func TestAnSFTPServerIsTheOneThatWasMeant(t *testing.T) {
	key, public := userKey(t)
	_, other := userKey(t)
	place := server(t, "sftp", "OFFSITE_USER_KEY="+public)
	good := offsite.Config{URL: "sftp://ops@" + place[0] + t.TempDir(), KeyFile: key, HostKey: place[1]}
	open(t, good)
	try := func(says, does string, change func(*offsite.Config)) {
		t.Helper()
		c := good
		change(&c)
		_, err := offsite.Open(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(hint(err), does) {
			t.Errorf("said %v, %q; want %q, %q", err, hint(err), says, does)
		}
	}
	try("is not known yet", "'backup_offsite_host_key="+place[1]+"'", func(c *offsite.Config) { c.HostKey = "" })
	try("shows another host key", "another server may answer in its place", func(c *offsite.Config) { c.HostKey = other })
	stranger, strange := userKey(t)
	try("does not accept the key of ops", "add this line to its authorized_keys: "+strange, func(c *offsite.Config) { c.KeyFile = stranger })
	try("no private key", "ssh-keygen", func(c *offsite.Config) { c.KeyFile = write(t, t.TempDir(), "k", "nothing") })
	try("others can read it", "chmod 600", func(c *offsite.Config) {
		c.KeyFile = write(t, t.TempDir(), "k", "x")
		if err := os.Chmod(c.KeyFile, 0o644); err != nil { //nolint:gosec // on purpose
			t.Fatal(err)
		}
	})
	try("refused", "check the answer backup_offsite", func(c *offsite.Config) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
		c.URL = "sftp://ops@" + ln.Addr().String() + "/x"
	})
}

// An interrupted file cancels what reads it.
type interrupted struct {
	*os.File
	cancel context.CancelFunc
}

func (f interrupted) Read(p []byte) (int, error) { f.cancel(); return f.File.Read(p) }

func (f interrupted) ReadAt(p []byte, at int64) (int, error) { f.cancel(); return f.File.ReadAt(p, at) }

// An upload that is cancelled on its way ends with an error, on both kinds, and nothing has
// the name of the file. What was begun over SFTP may remain under its temporary name, because
// the connection is gone.
func TestACancelledUploadEnds(t *testing.T) {
	for kind, c := range places(t) {
		t.Run(kind, func(t *testing.T) {
			s := open(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			name, _ := large(t, 20<<20)
			file, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			if err := s.Put(ctx, filepath.Base(name), interrupted{file, cancel}, 20<<20); !errors.Is(err, context.Canceled) {
				t.Errorf("the upload ended with %v", err)
			}
			if list, err := open(t, c).List(t.Context()); err != nil || slices.ContainsFunc(list, func(o offsite.Object) bool { return !strings.HasSuffix(o.Name, ".partial") }) {
				t.Errorf("there is %v: %v", list, err)
			}
		})
	}
}

func TestOldBackupsExpireByNumberAndAge(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var list []offsite.Object
	for _, name := range []string{
		"a-20260101T000000Z.tar.zst.age", "a-20260228T000000Z.tar.zst.age", "a-20260227T000000Z.tar.zst.age", "a-20260201T000000Z.tar.zst.age",
		"a-mine.tar.zst.age", "b-20200101T000000Z.tar.zst.age", "a-20200101T000000Z.txt",
	} {
		list = append(list, offsite.Object{Name: name})
	}
	for _, c := range []struct {
		keep int
		age  time.Duration
		want string
	}{
		{0, 0, ""},
		{2, 0, "20260201 20260101"},
		{0, 40 * 24 * time.Hour, "20260101"},
		{3, 7 * 24 * time.Hour, "20260201 20260101"},
		{1, time.Hour, "20260227 20260201 20260101"}, // the newest stays however old
	} {
		var got []string
		for _, o := range offsite.Expired(list, "a-", c.keep, c.age, now) {
			got = append(got, o.Name[2:10])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("keep %d, %s: %v expire, want %s", c.keep, c.age, got, c.want)
		}
	}
}
