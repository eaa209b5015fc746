package certs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"appliance/provision/internal/atomicfile"
)

// A Failure is the last refusal for one host, kept across runs.
type Failure struct {
	Directory string    `json:"directory"`
	At        time.Time `json:"at"`
	Problem   Problem   `json:"problem"`
	NotBefore time.Time `json:"not_before,omitzero"` // do not ask again before then
}

// Failures returns the last refusal of each host that has one.
func Failures(dir string) (map[string]Failure, error) {
	data, err := os.ReadFile(filepath.Join(dir, "failures.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Failure{}, nil
	}
	out := map[string]Failure{}
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	return out, err
}

// waiting returns an error while the authority has asked to wait.
func waiting(cfg Config, host string, now time.Time) error {
	failures, err := Failures(cfg.Dir)
	if err != nil {
		return err
	}
	f, ok := failures[host]
	if !ok || f.Directory != cfg.Directory || !now.Before(f.NotBefore) {
		return nil
	}
	return &RefusedError{Host: host, Directory: f.Directory, Problem: f.Problem, RetryAt: f.NotBefore, Earlier: true}
}

// record stores a refusal, or removes it after a success.
func record(cfg Config, host string, outcome error) error {
	refused, isRefusal := errors.AsType[*RefusedError](outcome)
	if outcome != nil && !isRefusal {
		return nil
	}
	failures, err := Failures(cfg.Dir)
	if err != nil {
		return err
	}
	if _, had := failures[host]; outcome == nil && !had {
		return nil
	}
	delete(failures, host)
	if isRefusal {
		failures[host] = Failure{Directory: cfg.Directory, At: time.Now().UTC(), Problem: problemOf(refused), NotBefore: refused.RetryAt}
	}
	data, err := json.MarshalIndent(failures, "", "  ")
	if err != nil {
		return err
	}
	if err := mkdir(cfg.Dir); err != nil {
		return err
	}
	return atomicfile.WriteOwned(filepath.Join(cfg.Dir, "failures.json"), append(data, '\n'), 0o600, Owner, Owner)
}

func problemOf(e *RefusedError) Problem {
	if e.Problem.Detail == "" && e.Cause != nil {
		return Problem{Detail: e.Cause.Error()}
	}
	return e.Problem
}
