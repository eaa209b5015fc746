package archive

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
	"appliance/provision/site"
	"appliance/provision/stack"
)

// outsideDir is the directory in an archive for the files elsewhere on the host that the
// answers name.
const outsideDir = "outside"

// Options say how to save an installation.
type Options struct {
	File    string      // the new file; "" for one in backups/, named after the time
	Keys    backup.Keys // to encrypt with; when there are none, the installation's own key, which the first backup makes
	Plain   bool        // without encryption
	Local   bool        // it is not sent off-site
	Keep    int         // how many backups to keep in backups/, dropping the oldest; 0 for all
	Program string      // version of this program, for the header
	Prefix  string      // of the name in backups/
}

// A Saved is a backup that was made.
type Saved struct {
	File      string        `json:"file"`
	Bytes     int64         `json:"bytes"`    // of the file
	Content   int64         `json:"content"`  // of what is in it
	Members   int           `json:"members"`  // files, directories and parts of dumps
	Pause     time.Duration `json:"pause_ns"` // how long the bridge and the homeserver were stopped
	Encrypted bool          `json:"encrypted"`
	NewKey    *KeyInfo      `json:"new_key,omitempty"` // the key, if this backup has made it: a copy must leave the host
	Links     []string      `json:"links,omitempty"`   // symbolic links that lead out of the installation
	Removed   []string      `json:"removed,omitempty"` // older backups

	Offsite        string   `json:"offsite,omitempty"`         // where it was also sent
	OffsiteRemoved []string `json:"offsite_removed,omitempty"` // older ones there
}

// Save saves the whole installation in one file. The bridge and the homeserver
// are stopped while the databases are read, because their data must be
// consistent with each other; Rocket.Chat stays open, and so do its files and the
// homeserver's media, which are read afterwards. An interrupted backup leaves no
// file and everything running.
func Save(ctx context.Context, s *site.Site, o Options, r plan.Reporter) (Saved, error) {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return Saved{}, err
	}
	defer unlock()
	saved, err := SaveLocked(ctx, s, o, r)
	if err == nil && o.Keep > 0 {
		saved.Removed, err = Prune(s, "", o.Keep)
	}
	return saved, err
}

// SaveLocked is Save for a caller that holds the lock of the host.
func SaveLocked(ctx context.Context, s *site.Site, o Options, r plan.Reporter) (saved Saved, err error) {
	var made bool
	if o.Keys, made, err = encryption(s, o); err != nil {
		return saved, err
	}
	if made {
		defer func() {
			info, keyErr := Key(s)
			saved.NewKey, err = &info, errors.Join(err, keyErr)
		}()
	}
	file, err := backupFile(s, o)
	if err != nil {
		return saved, err
	}
	if pending, err := Pending(s.Dir); err != nil || pending {
		return saved, errors.Join(err, &PendingError{Dir: s.Dir})
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
	b := saver{Site: s, ctx: ctx, r: r}
	if !o.Keys.Encrypts() {
		b.taken = append(b.taken, site.BackupKey) // its readers must not be able to read the others
	}
	if b.w, err = backup.NewWriter(out, b.header(o), o.Keys, b.progress); err != nil {
		return saved, err
	}
	if err := b.save(); err != nil {
		return saved, err
	}
	manifest, err := b.w.Close()
	if err != nil {
		return saved, err
	}
	err = errors.Join(out.Sync(), os.Rename(out.Name(), file), atomicfile.Write(s.Path(site.LastBackup), nil, 0o600))
	if err != nil {
		return saved, err
	}
	info, err := out.Stat()
	if err != nil {
		return saved, err
	}
	return Saved{
		File: file, Bytes: info.Size(), Content: manifest.Size(), Members: len(manifest.Members),
		Pause: b.pause.Round(time.Millisecond), Encrypted: o.Keys.Encrypts(), Links: b.w.OutsideLinks,
	}, nil
}

// backupFile finds the name of the new file and makes sure that it is new.
func backupFile(s *site.Site, o Options) (string, error) {
	file := o.File
	if file == "" {
		dir := s.Path(site.BackupsDir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		file = newName(filepath.Join(dir, o.Prefix+s.Answers.ServerName), o.Keys.Encrypts(), time.Now())
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(err, fmt.Errorf("%s exists already; a backup never replaces a file", file))
	}
	return file, nil
}

// newName returns the name for a backup made now. It contains the time, moved to the next
// second that no other backup has.
func newName(prefix string, encrypted bool, now time.Time) string {
	ending := ".tar.zst"
	if encrypted {
		ending += ".age"
	}
	for n := range 60 {
		name := prefix + "-" + now.Add(time.Duration(n)*time.Second).UTC().Format("20060102T150405Z") + ending
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
	return prefix + "-" + now.UTC().Format("20060102T150405Z") + ending
}

// A saver carries out one backup.
type saver struct {
	*site.Site
	ctx   context.Context //nolint:containedctx // lives as long as one call
	r     plan.Reporter
	w     *backup.Writer
	step  string
	taken []string // paths of the installation that outside has taken for other files
	shown time.Time
	pause time.Duration
	// stopped are the containers that were stopped for the snapshot. Whether they are healthy
	// again is checked after the dumps: a homeserver that migrates its tables at startup waits
	// for the dump that reads them.
	stopped []plan.Service
}

// progress reports at most every 200 ms.
func (s *saver) progress(n int64) {
	if now := time.Now(); s.step != "" && now.Sub(s.shown) > 200*time.Millisecond {
		s.shown = now
		s.r.Progress(s.step, fmt.Sprintf("%.1f MB", float64(n)/1e6), n, 0)
	}
}

func (s *saver) header(o Options) backup.Header {
	h := backup.Header{
		Created: time.Now().UTC().Truncate(time.Second), Program: o.Program,
		Domain: s.Answers.Domain, ServerName: s.Answers.ServerName, Homeserver: s.Answers.Homeserver,
		Images: map[string]string{},
	}
	services, _ := s.Stack.Services(s.ctx) // for information only
	for name, service := range services {
		h.Images[name] = service.Image
	}
	return h
}

func (s *saver) do(id, title string, what func() error) error {
	s.step = id
	return plan.Track(s.r, plan.Step{ID: id, Title: title}, what)
}

// save writes the snapshot first, then the files that may change while they are read.
func (s *saver) save() error {
	who := "the bridge and the homeserver"
	if !s.Answers.BundledHomeserver() {
		who = "the bridge"
	}
	list := databases(s.Answers)
	stop, err := s.serve(s.ctx, list)
	defer stop()
	if err != nil {
		return err
	}
	var dumps []*dumping
	defer func() {
		for _, u := range dumps {
			u.end()
		}
	}()
	for _, d := range list {
		u, err := s.prepare(s.ctx, d)
		if err != nil {
			return err
		}
		dumps = append(dumps, u)
	}
	if err := s.do("pause", "stop "+who+" for a snapshot; Rocket.Chat stays open", func() error { return s.snapshot(dumps) }); err != nil {
		return err
	}
	return s.do("files", "save media, keys, configuration and secrets", func() error {
		if err := s.rest(dumps); err != nil {
			return err
		}
		if len(s.stopped) > 0 {
			if err := s.Stack.AwaitStarted(s.ctx, 2*time.Minute, s.stopped); err != nil {
				return err
			}
		}
		if err := s.outside(); err != nil {
			return err
		}
		foreign := s.foreign()
		return s.tree(".", func(path string) bool {
			return slices.Contains(notSaved, path) || inSnapshot(path) || slices.Contains(foreign, path) || slices.Contains(s.taken, path)
		})
	})
}

// rest saves the dumps that were started during the pause and reflect their beginning.
func (s *saver) rest(dumps []*dumping) error {
	for _, u := range dumps {
		if u.early {
			if err := u.save(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// notSaved are the paths that are in no backup: databases are saved as dumps.
var notSaved = []string{site.BackupsDir, site.RestoreDir, site.DrillDir, site.UpgradeFile, site.LastBackup, site.GrowthFile, site.ChoresFile, site.AlarmFile, stack.LoadedFile, ".lock", stack.MadeFile, site.PurgedFile, "data/postgres", "data/mongo/db", "data/mongo/configdb", "data/prometheus"}

// inSnapshot reports whether a file belongs to what is saved during the pause: all data of the
// bridge and the homeserver except media, which only grow.
func inSnapshot(path string) bool {
	return path == "data/bridge" || strings.HasPrefix(path, "data/homeserver/") && path != "data/homeserver/media"
}

// foreign lists the data directories that are the operator's own, for services of an override.
// How to save them while they change is not known here.
func (s *saver) foreign() []string {
	entries, _ := os.ReadDir(s.Path("data"))
	var out []string
	for _, e := range entries {
		if !slices.Contains([]string{"bridge", "certs", "homeserver", "mongo", "postgres", "prometheus"}, e.Name()) {
			out = append(out, "data/"+e.Name())
		}
	}
	return out
}

// snapshot saves what must be consistent, with the bridge and the homeserver stopped. It saves
// the dumps that reflect their end; the others have only begun.
func (s *saver) snapshot(dumps []*dumping) (err error) {
	begin := time.Now()
	// In this order: Synapse does not resend what the bridge did not accept while Synapse
	// itself was stopping.
	s.stopped, err = s.Stack.Stop(s.ctx, "homeserver", "bridge")
	defer func() {
		err = errors.Join(err, s.Stack.Start(context.WithoutCancel(s.ctx), s.stopped))
		s.pause = time.Since(begin)
	}()
	if err != nil {
		return err
	}
	for _, u := range dumps {
		u.begin()
	}
	if err := s.frozenFiles(); err != nil {
		return err
	}
	for _, u := range dumps {
		if !u.early {
			err = u.save(s)
		} else {
			err = u.snapshot(s.ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// frozenFiles saves the files that nothing may write to in the meantime.
func (s *saver) frozenFiles() error {
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
	return s.w.Tree(s.ctx, s.Dir, below, skip)
}

func (s *saver) frozen(dir string) error {
	thaw, err := s.Stack.Freeze(s.ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(s.tree(dir, nil), thaw())
}

// outside saves the files elsewhere on this host that the answers name, so that another host
// can do without them.
func (s *saver) outside() error {
	for key, file := range outsideFiles(&s.Answers) {
		if *file == "" || strings.HasPrefix(*file, s.Dir+"/") {
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
		"backup_offsite_key_file": &a.OffsiteKeyFile, "alarm_webhook_file": &a.AlarmWebhookFile, "alarm_mail_password_file": &a.AlarmMailPassword,
		"smtp_password_file": &a.SMTPPasswordFile, "rocketchat_registration_token_file": &a.RegistrationTokenFile,
		"traces_headers_file": &a.TracesHeadersFile, "bridge_database_ca_file": &a.BridgeDatabaseCAFile,
		"homeserver_database_ca_file": &a.HomeserverDatabaseCAFile, "mongo_ca_file": &a.MongoCAFile,
		"uploads_key_file": &a.UploadsKeyFile, "uploads_ca_file": &a.UploadsCAFile,
	}
}

// A FullDiskError says that the disk is full.
type FullDiskError struct{ Dir string }

func (e *FullDiskError) Error() string { return "the disk that holds " + e.Dir + " is full" }

// Hint says what to do.
func (e *FullDiskError) Hint() string {
	return "free some space, or name a file on another disk; see: df -h " + e.Dir
}

func fullDisk(err error, file string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullDiskError{Dir: filepath.Dir(file)}
	}
	return err
}
