package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// Wanted is what the answers ask for.
type Wanted struct {
	Files      render.Files
	Dirs       []render.Dir
	NewSecrets []secrets.Name
	Rotating   []secrets.Name // secrets that are being replaced
	Image      string         // our own image
	Hosts      []string
	Profiles   []string // optional services
	// OwnAnswers says that the answers are based on those in the installation's own file, so
	// that manual edits there are part of what is wanted.
	OwnAnswers bool
}

// A Disk is a file as it is on the host.
type Disk struct {
	render.File
	Exists bool
}

// A Service is what runs under a name in the Compose file.
type Service struct {
	Name       string `json:"name"`
	Image      string `json:"image"`
	State      string `json:"state"`            // running, exited, restarting ...
	Health     string `json:"health,omitempty"` // healthy, unhealthy, starting; empty without a health check
	Status     string `json:"status"`           // for people: "Up 3 minutes (healthy)"
	ConfigHash string `json:"-"`
	ID         string `json:"-"`
	Address    string `json:"-"` // on the network of the applications
	// Others are further containers of the service. The service itself is the least healthy
	// one, with the address of one that runs.
	Others []Service `json:"-"`
}

// Add combines two containers into one service.
func (s Service) Add(other Service) Service {
	if s.OK() && !other.OK() {
		other.Others, s.Others = append(s.Others, s), nil
		other.Others[len(other.Others)-1].Others = nil
		if s.Address != "" && s.State == "running" {
			other.Address = s.Address
		}
		return other
	}
	if s.State != "running" && other.State == "running" && other.Address != "" {
		s.Address = other.Address
	}
	s.Others = append(s.Others, other)
	return s
}

// Containers returns all containers of a service.
func (s Service) Containers() []Service {
	others := s.Others
	s.Others = nil
	return append([]Service{s}, others...)
}

// OK reports whether a service does what it should.
func (s Service) OK() bool { return s.State == "running" && (s.Health == "" || s.Health == "healthy") }

// State is what was observed of the host.
type State struct {
	Manifest     Manifest
	Disk         map[string]Disk
	MissingDirs  []string
	Images       map[string]bool     // which of the wanted images are on this host and match the lock
	Strangers    []string            // names that stand for images other than the locked ones
	Unrecorded   []string            // names whose image the lock does not determine
	Replaced     []string            // services that run an image other than the one its name now stands for
	Services     map[string]Service  // the project's services that exist
	Hashes       map[string]string   // service -> hash of its configuration on disk
	Certificates map[string]string   // host -> why it needs a certificate; "" when it needs none
	Dumps        []string            // databases from a backup that are still to be loaded
	Starts       map[string]string   // service -> its current start, for those that read files at startup
	NotLoaded    map[string][]string // service -> files on disk that it does not run
	Bootstrap    string              // why bootstrap has to run; "" if nothing is missing
	Swap         Swap                // the swap file to make
	Units        string              // why systemd units have to be installed; "" if they need not be
}

// Swap is a swap file to make.
type Swap struct {
	Cause    string // why; "" if none has to be made
	Commands []string
}

// The files that operators are invited to edit.
const (
	BridgeFile  = "config/bridge/bridge.yaml"
	AnswersFile = "appliance.yaml"
)

// Reads are the directories whose files a service reads when it starts.
var Reads = map[string][]string{
	"nginx": {"config/nginx"}, "homeserver": {"config/homeserver", "config/ca"}, "certs": {"config/certs", "config/ca"}, "bridge": {"config/bridge", "config/ca"},
	"prometheus": {"config/prometheus"}, "rocketchat": {"config/rocketchat"},
}

// Identity identifies the content of a file: its bytes, or for bridge.yaml the keys that are
// not the operator's to change, and for appliance.yaml the answers, however they are written
// and whichever release wrote the explanations.
func Identity(path string, data []byte) string {
	switch path {
	case BridgeFile:
		if c, err := config.Parse(path, data); err == nil {
			data, _ = yaml.Marshal(c.Fixed) // strings only: cannot fail
		}
	case AnswersFile:
		if a, err := answers.Parse(path, data); err == nil {
			data = []byte(answers.Gist(a))
		}
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Written reports whether a file is as it was written when the record was made.
func (r Record) Written(path string, data []byte) bool {
	if r.Rendered == "" {
		return false
	}
	return Identity(path, data) == r.Rendered || path == AnswersFile && r.Rendered == formerIdentity(data)
}

// formerIdentity is what earlier releases recorded for appliance.yaml: they included the
// explanations of all answers, which differ in every release.
func formerIdentity(data []byte) string {
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	none, _, _ := bytes.Cut(answers.Answers{}.Marshal(""), []byte("\n"))
	sum := sha256.Sum256(slices.Concat(none, []byte("\n"), rest))
	return hex.EncodeToString(sum[:])
}

// ManifestVersion is the format of a Manifest. A release that cannot read what a newer one
// wrote leaves that installation alone.
const ManifestVersion = 1

// A Manifest records what was written, so that manual edits are noticed.
type Manifest struct {
	Version   int               `json:"version"`
	Project   string            `json:"project,omitempty"` // name of the Compose project
	Files     map[string]Record `json:"files"`
	Permanent map[string]string `json:"permanent"` // answers that can no longer change
	// HomeserverDatabase is where the homeserver has its data: answers.Answers.HomeserverDatabaseAt.
	// "" is where it was before there was a choice.
	HomeserverDatabase string `json:"homeserver_database,omitempty"`
	// Bootstrapped says that Rocket.Chat has its administrator, so that it no longer needs the
	// password of the first one.
	Bootstrapped bool `json:"bootstrapped,omitempty"`
}

// A Record describes a written file.
type Record struct {
	Rendered string `json:"rendered"`       // Identity of what was rendered
	Kept     string `json:"kept,omitempty"` // Identity of the operator's version, when it was accepted
}
