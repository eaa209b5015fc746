package backup_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"appliance/provision/backup"
)

// installation creates a directory with everything that an installation contains.
func installation(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"appliance.yaml": "domain: chat.example.test\n", "secrets/admin_password": "hunter2hunter2",
		"data/homeserver/media/a/b": strings.Repeat("media ", 1<<16), "data/homeserver/empty": "", "config/x y ü": "x",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o750), os.WriteFile(name, []byte(data), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink("../appliance.yaml", filepath.Join(dir, "config/link")), os.Mkdir(filepath.Join(dir, "data/postgres"), 0o700),
		os.WriteFile(filepath.Join(dir, "data/postgres/base"), []byte("not saved"), 0o600), syscall.Mkfifo(filepath.Join(dir, "data/pipe"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var header = backup.Header{Created: time.Unix(1e9, 0).UTC(), Program: "v1", Domain: "chat.example.test", ServerName: "example.test", Homeserver: "dendrite"}

// archive saves an installation and a dump larger than one part.
func archive(t *testing.T, dir string, k backup.Keys) []byte {
	t.Helper()
	return archiveWith(t, dir, k, 300_000)
}

func archiveWith(t *testing.T, dir string, k backup.Keys, rows int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, header, k, nil)
	if err != nil {
		t.Fatal(err)
	}
	db := w.Database("postgres")
	for i := range 20 {
		if _, err := fmt.Fprintf(db, "%d%s", i, strings.Repeat("row", rows)); err != nil {
			t.Fatal(err)
		}
	}
	skip := func(path string) bool { return path == "data/postgres" || path == "data/homeserver" }
	err = errors.Join(db.Close(), w.Tree(t.Context(), dir, "data/homeserver", nil), w.Tree(t.Context(), dir, ".", skip))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpack(t *testing.T, data []byte, k backup.Keys) (files, dumps string, err error) {
	t.Helper()
	files, dumps = t.TempDir(), t.TempDir()
	r, err := backup.Open(bytes.NewReader(data), k, nil)
	if err != nil {
		return files, dumps, err
	}
	defer r.Close()
	_, err = r.Unpack(t.Context(), files, dumps)
	return files, dumps, err
}

// tree describes everything below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		info, err := d.Info()
		if err != nil || strings.HasPrefix(rel, "data/postgres") || rel == "data/pipe" {
			return err
		}
		owner, _ := info.Sys().(*syscall.Stat_t)
		content := ""
		switch {
		case info.Mode().IsRegular():
			data, _ := os.ReadFile(name)
			sum := sha256.Sum256(data)
			content = hex.EncodeToString(sum[:4])
		case !d.IsDir():
			content, _ = os.Readlink(name)
		}
		fmt.Fprintf(&b, "%s %v %d:%d %s\n", rel, info.Mode(), owner.Uid, owner.Gid, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatIsSavedComesBack(t *testing.T) {
	dir := installation(t)
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "data/homeserver"), 10500, 10500); err != nil {
			t.Fatal(err)
		}
	}
	data := archive(t, dir, backup.Keys{})
	files, dumps, err := unpack(t, data, backup.Keys{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, files), tree(t, dir); got != want {
		t.Errorf("came back as\n%s\nwas\n%s", got, want)
	}
	if _, err := os.Stat(filepath.Join(files, "data/postgres")); err == nil {
		t.Error("what was skipped came back")
	}
	dump, err := os.ReadFile(filepath.Join(dumps, "postgres"))
	if err != nil || len(dump) != 20*900_000+30 || !bytes.HasPrefix(dump, []byte("0row")) || !bytes.Contains(dump, []byte("row19row")) {
		t.Errorf("the dump has %d bytes, %v", len(dump), err)
	}
	if bytes.Contains(data, []byte("age-encryption")) {
		t.Error("it is encrypted although no key was given")
	}
}

func TestADamagedBackupIsRefusedWhereverTheDamageIs(t *testing.T) {
	for name, keys := range map[string]backup.Keys{"plain": {}, "encrypted": both(t)} {
		dir := installation(t)
		data := archiveWith(t, dir, keys, 10)
		for i := range 100 {
			at := len(data) * i / 100
			flipped := bytes.Clone(data)
			flipped[at] ^= 0x10
			for what, bad := range map[string][]byte{"truncated": data[:at], "altered": flipped} {
				files, _, err := unpack(t, bad, keys)
				if err == nil && what == "altered" && tree(t, files) == tree(t, dir) {
					continue // a bit without meaning
				}
				var corrupt *backup.CorruptError
				var key *backup.KeyError // the header of an encrypted file names the key
				if err == nil || !errors.As(err, &corrupt) && !errors.As(err, &key) {
					t.Errorf("%s, %s at %d of %d: %v", name, what, at, len(data), err)
				}
			}
		}
	}
}

// both returns a public key and the matching private key.
func both(t *testing.T) (k backup.Keys) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key")
	if err := errors.Join(os.WriteFile(name, []byte(id.String()), 0o600), k.To([]string{id.Recipient().String()}, ""), k.Identity(name)); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAPassphraseEncrypts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "phrase")
	keys := func(phrase string) (k backup.Keys) {
		if err := errors.Join(os.WriteFile(name, []byte(phrase+"\n"), 0o600), k.Passphrase(name)); err != nil {
			t.Fatal(err)
		}
		return k
	}
	data := archive(t, t.TempDir(), keys("correct horse"))
	if _, _, err := unpack(t, data, keys("correct horse")); err != nil {
		t.Error(err)
	}
	var key *backup.KeyError
	if _, _, err := unpack(t, data, keys("battery staple")); !errors.As(err, &key) {
		t.Errorf("another passphrase: %v", err)
	}
	_ = os.WriteFile(name, []byte("short\n"), 0o600)
	if err := new(backup.Keys).Passphrase(name); err == nil || strings.Contains(err.Error(), "short\n") {
		t.Errorf("a short passphrase: %v", err)
	}
}

func TestAnEncryptedBackupNeedsItsKey(t *testing.T) {
	mine, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := age.GenerateX25519Identity()
	var to backup.Keys
	if err := to.To([]string{mine.Recipient().String()}, ""); err != nil {
		t.Fatal(err)
	}
	data := archive(t, installation(t), to)
	identity := func(id *age.X25519Identity) (k backup.Keys) {
		name := filepath.Join(t.TempDir(), "key")
		if err := errors.Join(os.WriteFile(name, []byte("# mine\n"+id.String()+"\n"), 0o600), k.Identity(name)); err != nil {
			t.Fatal(err)
		}
		return k
	}
	var key *backup.KeyError
	if _, _, err := unpack(t, data, backup.Keys{}); !errors.As(err, &key) || !strings.Contains(key.Hint(), "--identity") {
		t.Errorf("without a key: %v", err)
	}
	if _, _, err := unpack(t, data, identity(other)); !errors.As(err, &key) {
		t.Errorf("with another key: %v", err)
	}
	if _, _, err := unpack(t, data, identity(mine)); err != nil {
		t.Errorf("with the key: %v", err)
	}
	if bytes.Contains(data, []byte("hunter2")) || bytes.Contains(data, []byte("chat.example.test")) {
		t.Error("it shows what is in it")
	}
}

// A hostile archive is crafted to write outside of its target.
func hostile(t *testing.T, members ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z, _ := zstd.NewWriter(&out)
	w := tar.NewWriter(z)
	var m backup.Manifest
	put := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(content))
		member := backup.Member{Name: h.Name, Size: h.Size}
		if h.Typeflag == tar.TypeReg {
			sum := sha256.Sum256([]byte(content))
			member.SHA256 = hex.EncodeToString(sum[:])
		}
		m.Members = append(m.Members, member)
	}
	document := func(name string, v any) {
		data, _ := json.Marshal(v)
		put(tar.Header{Name: name, Typeflag: tar.TypeReg}, string(data))
	}
	document("backup.json", backup.Header{Format: backup.Format})
	for _, h := range members {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "x"
		}
		put(h, content)
	}
	document("manifest.json", m)
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAHostileBackupWritesNothingOutside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600} }
	for name, members := range map[string][]tar.Header{
		"above":            {file("files/../../outside")},
		"absolute":         {file("files/" + outside)},
		"elsewhere":        {file("etc/passwd")},
		"through a link":   {{Name: "files/l", Linkname: filepath.Dir(outside), Typeflag: tar.TypeSymlink}, file("files/l/outside")},
		"a device":         {{Name: "files/d", Typeflag: tar.TypeChar, Mode: 0o600}},
		"a hard link":      {{Name: "files/h", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}},
		"a database above": {file("databases/../x/00000")},
		"twice":            {file("files/a"), file("files/a")},
	} {
		if _, _, err := unpack(t, hostile(t, members...), backup.Keys{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := os.Lstat(outside); err == nil {
			t.Fatalf("%s: it wrote outside", name)
		}
	}
	if _, _, err := unpack(t, hostile(t, file("files/a")), backup.Keys{}); err != nil {
		t.Errorf("an honest one is refused: %v", err)
	}
}

// TestLinksThatLeadOutAreRefused: through a foreign link, whatever follows it later, as
// root, would write elsewhere.
func TestLinksThatLeadOutAreRefused(t *testing.T) {
	link := func(name, target string) tar.Header {
		return tar.Header{Name: "files/" + name, Linkname: target, Typeflag: tar.TypeSymlink}
	}
	for _, bad := range []tar.Header{link("secrets", "/root/.ssh"), link("a", "../x"), link("nginx", "./../../etc"), link("x", "/"), link("x", "..")} {
		data := hostile(t, bad)
		_, _, err := unpack(t, data, backup.Keys{})
		if refused, ok := errors.AsType[*backup.LinkError](err); !ok || refused.Target != bad.Linkname || !strings.Contains(refused.Hint(), "--accept-links") {
			t.Errorf("%s -> %s: %v", bad.Name, bad.Linkname, err)
		}
		r, err := backup.Open(bytes.NewReader(data), backup.Keys{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.OutsideLinks = true
		if _, err := r.Unpack(t.Context(), t.TempDir(), t.TempDir()); err != nil {
			t.Errorf("%s -> %s, which the operator wants: %v", bad.Name, bad.Linkname, err)
		}
		r.Close()
	}
	for _, good := range []tar.Header{link("a", "b"), link("config/a", "../b"), link("x/y/z", "../../a/./b")} {
		if _, _, err := unpack(t, hostile(t, tar.Header{Name: "files/config", Typeflag: tar.TypeDir, Mode: 0o700}, tar.Header{Name: "files/x", Typeflag: tar.TypeDir, Mode: 0o700},
			tar.Header{Name: "files/x/y", Typeflag: tar.TypeDir, Mode: 0o700}, good), backup.Keys{}); err != nil {
			t.Errorf("%s -> %s: %v", good.Name, good.Linkname, err)
		}
	}
	// Such a link is reported when it is saved, not when it is too late.
	dir := installation(t)
	if err := os.Symlink("/mnt/large", filepath.Join(dir, "data/media")); err != nil {
		t.Fatal(err)
	}
	w, err := backup.NewWriter(&bytes.Buffer{}, header, backup.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Tree(t.Context(), dir, ".", nil); err != nil || strings.Join(w.OutsideLinks, " ") != "data/media" {
		t.Errorf("links that lead out: %q, %v", w.OutsideLinks, err)
	}
}

// TestASmallBackupFillsNoDisk unpacks a few kilobytes that would expand to a gigabyte.
func TestASmallBackupFillsNoDisk(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "zeros"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, header, backup.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Tree(t.Context(), dir, ".", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, _, err := unpack(t, out.Bytes(), backup.Keys{})
	if bad, ok := errors.AsType[*backup.CorruptError](err); !ok || !strings.Contains(bad.Reason, "times its size") {
		t.Errorf("%d bytes that hold 1 GB: %v", out.Len(), err)
	}
	if info, err := os.Stat(filepath.Join(files, "zeros")); err != nil || info.Size() > 300<<20 {
		t.Errorf("%v bytes were written, %v", info.Size(), err)
	}
}

func TestNamesAndDocumentsAreBounded(t *testing.T) {
	for what, h := range map[string]tar.Header{
		"a name":   {Name: "files/" + strings.Repeat("n", 5000), Typeflag: tar.TypeReg, Mode: 0o600},
		"a target": {Name: "files/l", Linkname: strings.Repeat("n", 5000), Typeflag: tar.TypeSymlink},
	} {
		var bad *backup.CorruptError
		if _, _, err := unpack(t, hostile(t, h), backup.Keys{}); !errors.As(err, &bad) || !strings.Contains(bad.Reason, "more than 4096 bytes") {
			t.Errorf("%s of 5000 bytes: %v", what, err)
		}
	}
	var out bytes.Buffer
	z, _ := zstd.NewWriter(&out)
	w := tar.NewWriter(z)
	head := `{"format": 1, "images": {"x": "` + strings.Repeat("y", 2<<20) + `"}}`
	_ = w.WriteHeader(&tar.Header{Name: "backup.json", Size: int64(len(head)), Typeflag: tar.TypeReg})
	_, _ = w.Write([]byte(head))
	_ = errors.Join(w.Close(), z.Close())
	if _, err := backup.Open(&out, backup.Keys{}, nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a header of 2 MB: %v", err)
	}
}

func TestAFormatOfTheFutureIsRefused(t *testing.T) {
	var out bytes.Buffer
	z, _ := zstd.NewWriter(&out)
	w := tar.NewWriter(z)
	data := `{"format": 2, "program": "v9"}`
	_ = w.WriteHeader(&tar.Header{Name: "backup.json", Size: int64(len(data)), Typeflag: tar.TypeReg})
	_, _ = w.Write([]byte(data))
	_ = errors.Join(w.Close(), z.Close())
	_, err := backup.Open(&out, backup.Keys{}, nil)
	if err == nil || !strings.Contains(err.Error(), "use the program that made it (v9)") {
		t.Errorf("%v", err)
	}
}

func TestAFileThatGrowsIsCut(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "journal")
	if err := os.WriteFile(name, bytes.Repeat([]byte("line\n"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out bytes.Buffer
	grow := func(int64) { _, _ = f.WriteString("more\n") } // after every read
	w, err := backup.NewWriter(&out, header, backup.Keys{}, grow)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Tree(t.Context(), dir, ".", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := unpack(t, out.Bytes(), backup.Keys{}); err != nil {
		t.Error(err)
	}
}
