// Package hoststatus is what the operator's program leaves for the bridge to show in its
// console: what it has found on the host, which the bridge in its container cannot see.
// It is a small file of JSON in the bridge's data directory.
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

// Limits of what is believed of a file.
const (
	maxSize     = 256 << 10
	maxFindings = 100
	maxUpdates  = 30
)

// A Status is what is known of the host.
type Status struct {
	Written  time.Time `json:"written"`
	Examined time.Time `json:"examined"` // when the findings were found
	Findings []Finding `json:"findings"`
	// Backup and Drill are when the installation was saved last, and when a backup was
	// last restored beside it; zero when never. DrillProblem is why that failed.
	Backup       time.Time         `json:"backup,omitzero"`
	Drill        time.Time         `json:"drill,omitzero"`
	DrillProblem string            `json:"drill_problem,omitempty"`
	Images       map[string]string `json:"images,omitempty"` // of the services
	Updates      []Update          `json:"updates,omitempty"`
	Alarms       []string          `json:"alarms,omitempty"` // how the operator is told of problems
	Release      Release           `json:"release,omitzero"` // zero when nobody was asked for a newer one
}

// A Release is what the operator's program has learned of the newest release of itself.
type Release struct {
	Asked   time.Time `json:"asked"`
	From    string    `json:"from"`             // the address, as self-update takes it
	Have    string    `json:"have"`             // the version of the program
	Version string    `json:"version"`          // the newest one, whose signature was verified
	Newer   bool      `json:"newer,omitempty"`  // than Have
	Failed  string    `json:"failed,omitempty"` // why it is not known
}

// An Update is another image that `appliance upgrade` would start a service with.
type Update struct {
	Service string `json:"service"`
	From    string `json:"from"`
	To      string `json:"to"`
	// Caution says what to know before, or why it is refused; "" when there is nothing.
	Caution string `json:"caution,omitempty"`
}

// Severities of a Finding.
const (
	OK   = "ok"
	Warn = "warn"
	Fail = "fail"
)

// A Finding is what one check of `appliance doctor` saw.
type Finding struct {
	Check    string `json:"check"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Why      string `json:"why,omitempty"`
	Fix      string `json:"fix,omitempty"`
}

// Read reads a file; it returns nil when there is none.
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

// Problems returns the findings that are not good, those that fail first.
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
