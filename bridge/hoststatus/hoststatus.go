// Package hoststatus is what the operator's program leaves for the bridge to show in its
// console: its findings on the host, which the bridge in its container cannot see. It is
// a small JSON file in the bridge's data directory.
package hoststatus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// FileName is the file's name in the bridge's data directory.
const FileName = "host.json"

// Limits on what is accepted from a file.
const (
	maxSize     = 256 << 10
	maxFindings = 100
	maxUpdates  = 30
)

// A Status is what is known about the host.
type Status struct {
	Written  time.Time `json:"written"`
	Examined time.Time `json:"examined"` // when the findings were made
	Findings []Finding `json:"findings"`
	// Backup and Drill are when the installation was last backed up, and when a backup
	// was last restored beside it; zero if never. DrillProblem is why the latter failed.
	Backup       time.Time         `json:"backup,omitzero"`
	Drill        time.Time         `json:"drill,omitzero"`
	DrillProblem string            `json:"drill_problem,omitempty"`
	Images       map[string]string `json:"images,omitempty"` // of the services
	Updates      []Update          `json:"updates,omitempty"`
	Alarms       []string          `json:"alarms,omitempty"` // how the operator is told of problems
	Release      Release           `json:"release,omitzero"` // zero if no check for a newer release was made
}

// A Release is what the operator's program has found out about its own newest release.
type Release struct {
	Asked   time.Time `json:"asked"`
	From    string    `json:"from"`             // the address, as self-update takes it
	Have    string    `json:"have"`             // the version of the program
	Version string    `json:"version"`          // the newest one, whose signature was verified
	Newer   bool      `json:"newer,omitempty"`  // than Have
	Failed  string    `json:"failed,omitempty"` // why it is not known
}

// An Update is a different image that `appliance upgrade` would start a service with.
type Update struct {
	Service string `json:"service"`
	From    string `json:"from"`
	To      string `json:"to"`
	// Caution is what to know beforehand, or why the update is refused, or "".
	Caution string `json:"caution,omitempty"`
}

// Severities of a Finding.
const (
	OK   = "ok"
	Warn = "warn"
	Fail = "fail"
)

// A Finding is the result of one check of `appliance doctor`.
type Finding struct {
	Check    string `json:"check"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Why      string `json:"why,omitempty"`
	Fix      string `json:"fix,omitempty"`
}

// Read reads a file; it returns nil if there is none.
func Read(name string) (*Status, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0) // root reads it where the bridge may write
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, errors.Join(err, fmt.Errorf("%s is not a file of at most %d bytes", name, maxSize))
	}
	var s Status
	if err := json.NewDecoder(io.LimitReader(f, maxSize)).Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.Findings = s.Findings[:min(len(s.Findings), maxFindings)]
	s.Updates = s.Updates[:min(len(s.Updates), maxUpdates)]
	return &s, nil
}

// Problems returns the findings that are not good, failures first.
func (s *Status) Problems() (out []Finding) {
	for _, severity := range []string{Fail, Warn} {
		for _, f := range s.Findings {
			if f.Severity == severity {
				out = append(out, f)
			}
		}
	}
	return out
}

// Good returns the other findings.
func (s *Status) Good() (out []Finding) {
	for _, f := range s.Findings {
		if f.Severity != Fail && f.Severity != Warn {
			out = append(out, f)
		}
	}
	return out
}
