package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"appliance/provision/answers"
	"appliance/provision/backup"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/stack"
)

// BackupsDir is where backups go below the installation unless a file is named.
// Neither a backup nor a purge takes what is in it.
const BackupsDir = "backups"

// outsideDir holds, in an archive, the files that the answers name elsewhere on
// the host.
const outsideDir = "outside"

// BackupOptions say how to save an installation.
type BackupOptions struct {
	File    string // the new file; "" for one in BackupsDir, named after the time
	Keys    backup.Keys
	Keep    int    // how many backups stay in BackupsDir, the oldest go; 0 for all
	Program string // version of this program, for the header
	prefix  string // of the name in BackupsDir
}

// A Saved is a backup that was made.
type Saved struct {
	File      string        `json:"file"`
	Bytes     int64         `json:"bytes"`    // of the file
	Content   int64         `json:"content"`  // of what is in it
	Members   int           `json:"members"`  // files, directories and parts of dumps
	Pause     time.Duration `json:"pause_ns"` // how long the bridge and the homeserver stood still
	Encrypted bool          `json:"encrypted"`
	Links     []string      `json:"links,omitempty"`   // symbolic links that lead out of the installation
	Removed   []string      `json:"removed,omitempty"` // older backups
}

// Backup saves the whole installation in one file. The bridge and the homeserver
// stand still while the databases are read, because what they know of each other
// has to be of one moment; Rocket.Chat stays open, and so do its files and the
// homeserver's media, which are read afterwards. An interrupted backup leaves no
// file and everything running.
func (i *Installed) Backup(ctx context.Context, o BackupOptions, r Reporter) (Saved, error) {
	unlock, err := i.p.stack.Lock()
	if err != nil {
		return Saved{}, err
	}
	defer unlock()
	saved, err := i.save(ctx, o, r)
	if err == nil && o.Keep > 0 {
		saved.Removed, err = i.removeOld("", o.Keep)
	}
	return saved, err
}

// save is Backup for somebody who has the lock.
func (i *Installed) save(ctx context.Context, o BackupOptions, r Reporter) (saved Saved, err error) {
	file, err := i.backupFile(o)
	if err != nil {
		return saved, err
	}
	if pending, err := restorePending(i.p.opts.Dir); err != nil || pending {
		return saved, errors.Join(err, &PendingError{Dir: i.p.opts.Dir})
	}
	out, err := os.OpenFile(file+".partial", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return saved, err
	}
	defer func() {
		_ = out.Close()
		if err != nil {
			_ = os.Remove(out.Name())
			err = fullDisk(err, file)
		}
	}()
	s := saver{Installed: i, ctx: ctx, r: r}
	if s.w, err = backup.NewWriter(out, s.header(o), o.Keys, s.heard); err != nil {
		return saved, err
	}
	if err := s.everything(); err != nil {
		return saved, err
	}
	manifest, err := s.w.Close()
	if err != nil {
		return saved, err
	}
	err = errors.Join(out.Sync(), os.Rename(out.Name(), file), atomicfile.Write(i.p.path(lastBackup), nil, 0o600))
	if err != nil {
		return saved, err
	}
	info, err := out.Stat()
	if err != nil {
		return saved, err
	}
	return Saved{
		File: file, Bytes: info.Size(), Content: manifest.Size(), Members: len(manifest.Members),
		Pause: s.pause.Round(time.Millisecond), Encrypted: o.Keys.Encrypts(), Links: s.w.OutsideLinks,
	}, nil
}

// backupFile finds the name of the new file and makes sure that it is new.
func (i *Installed) backupFile(o BackupOptions) (string, error) {
	file := o.File
	if file == "" {
		dir := i.p.path(BackupsDir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		name := fmt.Sprintf("%s%s-%s.tar.zst", o.prefix, i.Answers.ServerName, time.Now().UTC().Format("20060102T150405Z"))
		if o.Keys.Encrypts() {
			name += ".age"
		}
		file = filepath.Join(dir, name)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(err, fmt.Errorf("%s is there already; a backup never replaces a file", file))
	}
	return file, nil
}

// A saver carries out one backup.
type saver struct {
	*Installed
	ctx   context.Context //nolint:containedctx // lives as long as one call
	r     Reporter
	w     *backup.Writer
	step  string
	taken []string // paths of the installation that outside has given to others
	shown time.Time
	pause time.Duration
}

// heard shows how far it is, but not too often.
func (s *saver) heard(n int64) {
	if now := time.Now(); s.step != "" && now.Sub(s.shown) > 200*time.Millisecond {
		s.shown = now
		s.r.Progress(s.step, fmt.Sprintf("%.1f MB", float64(n)/1e6), n, 0)
	}
}

func (s *saver) header(o BackupOptions) backup.Header {
	h := backup.Header{
		Created: time.Now().UTC().Truncate(time.Second), Program: o.Program,
		Domain: s.Answers.Domain, ServerName: s.Answers.ServerName, Homeserver: s.Answers.Homeserver,
		Images: map[string]string{},
	}
	services, _ := s.p.stack.Services(s.ctx) // for information only
	for name, service := range services {
		h.Images[name] = service.Image
	}
	return h
}

func (s *saver) do(id, title string, what func() error) error {
	s.step = id
	return reported(s.r, plan.Step{ID: id, Title: title}, what)
}

// everything saves first what has to be of one moment and then the rest.
func (s *saver) everything() error {
	who := "the bridge and the homeserver"
	if !s.Answers.BundledHomeserver() {
		who = "the bridge"
	}
	if err := s.do("pause", "stop "+who+" for a moment; Rocket.Chat stays open", s.together); err != nil {
		return err
	}
	return s.do("files", "save media, keys, configuration and secrets", func() error {
		if err := s.outside(); err != nil {
			return err
		}
		foreign := s.foreign()
		return s.tree(".", func(path string) bool {
			return slices.Contains(notSaved, path) || s.ofOneMoment(path) || slices.Contains(foreign, path) || slices.Contains(s.taken, path)
		})
	})
}

// notSaved are the paths that no backup has: databases are saved as dumps.
var notSaved = []string{BackupsDir, restoreDir, upgradeFile, lastBackup, growthFile, alarmFile, stack.LoadedFile, ".lock", "data/postgres", "data/mongo/db", "data/mongo/configdb"}

// ofOneMoment reports whether a file belongs to what is saved during the pause:
// all that the bridge and the homeserver keep, but for media, which only grow.
func (s *saver) ofOneMoment(path string) bool {
	return path == "data/bridge" || strings.HasPrefix(path, "data/homeserver/") && path != "data/homeserver/media"
}

// foreign lists the directories of data that are the operator's own, for
// services of an override. Nobody knows how to save them while they change.
func (s *saver) foreign() []string {
	entries, _ := os.ReadDir(s.p.path("data"))
	var out []string
	for _, e := range entries {
		if !slices.Contains([]string{"bridge", "certs", "homeserver", "mongo", "postgres"}, e.Name()) {
			out = append(out, "data/"+e.Name())
		}
	}
	return out
}

func (s *saver) together() (err error) {
	begin := time.Now()
	// In this order: Synapse does not send again what the bridge did not take
	// while Synapse itself was stopping.
	stopped, err := s.p.stack.Stop(s.ctx, "homeserver", "bridge")
	goOn := context.WithoutCancel(s.ctx)
	defer func() {
		err = errors.Join(err, s.p.stack.Start(goOn, stopped))
		s.pause = time.Since(begin)
		if err == nil && len(stopped) > 0 {
			err = s.awaitHealthy(stopped)
		}
	}()
	if err != nil {
		return err
	}
	for _, database := range databases(s.Answers) {
		if err := s.database(database); err != nil {
			return fmt.Errorf("save the database %s: %w", database.service, err)
		}
	}
	for _, dir := range s.foreign() {
		if err := s.frozen(dir); err != nil {
			return err
		}
	}
	if err := s.tree("data/bridge", nil); err != nil {
		return err
	}
	if !s.Answers.BundledHomeserver() {
		return nil
	}
	return s.tree("data/homeserver", func(path string) bool { return path == "data/homeserver/media" })
}

func (s *saver) tree(below string, skip func(string) bool) error {
	return s.w.Tree(s.ctx, s.p.opts.Dir, below, skip)
}

func (s *saver) frozen(dir string) error {
	thaw, err := s.p.stack.Freeze(s.ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(s.tree(dir, nil), thaw())
}

func (s *saver) awaitHealthy(services []plan.Service) error {
	names := make([]string, len(services))
	for n, service := range services {
		names[n] = service.Name
	}
	return s.p.stack.AwaitHealthy(s.ctx, 2*time.Minute, names...)
}

// database saves a dump, starting the service for as long as it takes when the
// installation is down.
func (s *saver) database(d database) error {
	services, err := s.p.stack.Services(s.ctx)
	if err != nil {
		return err
	}
	if services[d.service].State != "running" {
		if err := s.p.stack.UpOnly(s.ctx, func(stack.Event) {}, d.service); err != nil {
			return err
		}
		defer func() { _, _ = s.p.stack.Stop(context.WithoutCancel(s.ctx), d.service) }()
	}
	to := s.w.Database(d.service)
	return errors.Join(s.p.stack.Exec(s.ctx, d.service, nil, to, d.dump...), to.Close())
}

// outside saves the files that the answers name elsewhere on this host, so that
// another host can do without them.
func (s *saver) outside() error {
	for key, file := range outsideFiles(&s.Answers) {
		if *file == "" || strings.HasPrefix(*file, s.p.opts.Dir+"/") {
			continue
		}
		name := filepath.Join(outsideDir, key+".pem")
		if err := s.w.File(*file, name); err != nil {
			return err
		}
		s.taken = append(s.taken, name)
	}
	return nil
}

func outsideFiles(a *answers.Answers) map[string]*string {
	return map[string]*string{
		"acme_ca_file": &a.ACMECAFile, "tls_cert_file": &a.TLSCertFile, "tls_key_file": &a.TLSKeyFile, "acme_eab_hmac_file": &a.ACMEEABHMACFile,
		"rocketchat_token_file": &a.RocketChatTokenFile, "rocketchat_create_token_secret_file": &a.RocketChatSecretFile,
	}
}

// A FullDiskError says that there was no room.
type FullDiskError struct{ Dir string }

func (e *FullDiskError) Error() string { return "the disk that holds " + e.Dir + " is full" }

// Hint says what to do.
func (e *FullDiskError) Hint() string {
	return "free some room, or name a file on another disk; look with: df -h " + e.Dir
}

func fullDisk(err error, file string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullDiskError{Dir: filepath.Dir(file)}
	}
	return err
}

// VerifyBackup reads a backup from its beginning to its end.
func VerifyBackup(ctx context.Context, file string, k backup.Keys, r Reporter) (h backup.Header, m backup.Manifest, err error) {
	err = reported(r, plan.Step{ID: "verify", Title: "verify " + file}, func() error {
		return readBackup(file, k, r, "verify", func(in *backup.Reader) error {
			h = in.Header
			m, err = in.Verify(ctx)
			return err
		})
	})
	return h, m, err
}

func readBackup(file string, k backup.Keys, r Reporter, step string, do func(*backup.Reader) error) error {
	f, err := os.Open(file) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var shown time.Time
	in, err := backup.Open(f, k, func(n int64) {
		if now := time.Now(); now.Sub(shown) > 200*time.Millisecond {
			shown = now
			r.Progress(step, fmt.Sprintf("%.1f MB", float64(n)/1e6), n, 0)
		}
	})
	if err != nil {
		return err
	}
	defer in.Close()
	return do(in)
}

// A database is one that is saved as a dump.
type database struct {
	service string
	data    []string // its directories
	dump    []string // writes a dump to standard output
	load    []string // reads one into an empty server
}

// databases are those of the stack. The addresses are inside their containers,
// where the owner of the server may come in without a password.
func databases(a answers.Answers) []database {
	var out []database
	if a.BundledHomeserver() {
		out = append(out, database{
			service: "postgres", data: []string{"data/postgres"},
			dump: []string{"pg_dump", "-U", "homeserver", "-d", "homeserver", "--format=custom", "--compress=0", "--no-owner", "--no-acl"},
			load: []string{"pg_restore", "-U", "homeserver", "-d", "homeserver", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction"},
		})
	}
	if a.BundledMongo() {
		out = append(out, database{
			service: "mongo", data: []string{"data/mongo/db", "data/mongo/configdb"},
			dump: mongoTool("mongodump", "--oplog"),
			load: mongoTool("mongorestore", "--oplogReplay", "--drop"),
		})
	}
	return out
}

// mongoTool runs one of MongoDB's tools as root of the server. The password goes
// from its file into another that only the tool reads, never onto a command line.
func mongoTool(tool string, more ...string) []string {
	return append([]string{"sh", "-c", `set -eu; umask 077; f=$(mktemp); trap 'rm -f "$f"' EXIT
printf 'password: "%s"\n' "$(cat /run/secrets/mongo_root_password)" >"$f"
tool=$1; shift; "$tool" --quiet --config "$f" --host 127.0.0.1 --username root --authenticationDatabase admin --archive "$@"`, "sh", tool}, more...)
}
