package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// An interruption kills appliance up at each step.
type interruption struct{ *demo }

// A kill is one of `appliance up` some time after a step has begun.
type kill struct {
	step  string
	after time.Duration
}

// interrupt kills `appliance up` with kill -9 on a new host beside the demo's installation: at the
// beginning of every step and in the middle of the longest, each run continuing what the one before
// it left, and then once in the middle alone. After each of the two series up has to complete, the
// one after it has to find nothing to do, and the doctor nothing wrong.
func (d interruption) interrupt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	dir := d.path("interrupted")
	args := []string{"up", "--dir", dir, "--yes", "--set", "domain=chat.interrupted.test", "--set", "tls=internal", "--set", "systemd=false", "--set", "http_port=18080", "--set", "https_port=18443",
		"--set", "mongo_url=mongodb://" + standIn + "/rocketchat?replicaSet=rs0"}
	if err := d.purge(ctx, dir); err != nil {
		return err
	}
	steps, err := d.planned(ctx, args)
	if err != nil {
		return err
	}
	var each []kill
	for _, step := range steps {
		each = append(each, kill{step, 0})
		if step == "services" { // the longest
			each = append(each, kill{step, 700 * time.Millisecond}, kill{step, 4 * time.Second})
		}
	}
	for _, kills := range [][]kill{each, {{"services", 4 * time.Second}}} {
		if err := d.killedAndCompleted(ctx, dir, args, kills); err != nil {
			return err
		}
	}
	return d.purge(ctx, dir)
}

// killedAndCompleted kills one up after the other, lets the last one complete, and checks what it left.
func (d interruption) killedAndCompleted(ctx context.Context, dir string, args []string, kills []kill) error {
	if err := d.fresh(ctx, dir); err != nil {
		return err
	}
	hits := 0
	for _, k := range kills {
		reached, err := d.killed(ctx, args, k.step, k.after)
		if err != nil {
			return err
		}
		if reached {
			d.say("kill -9 of appliance up %4d ms after the step %s began", k.after.Milliseconds(), k.step)
			hits++
			continue
		}
		// The program was faster and has completed everything: the next kill needs a host on which there is something to do.
		if err := d.fresh(ctx, dir); err != nil {
			return err
		}
	}
	if hits == 0 {
		return fmt.Errorf("appliance up was faster than each kill of %v: nothing is shown", kills)
	}
	if _, err := d.command(ctx, d.program, args...); err != nil {
		return fmt.Errorf("after %d times kill -9, the last in the step %s: %w", hits, kills[len(kills)-1].step, err)
	}
	out, err := d.command(ctx, d.program, "up", "--dir", dir)
	if err != nil || !strings.HasPrefix(out, "nothing to do") {
		return fmt.Errorf("after kill -9 in the step %s and another up there is still something to do: %w\n%s", kills[len(kills)-1].step, err, out)
	}
	if _, err := d.command(ctx, d.program, "doctor", "--dir", dir); err != nil {
		return err
	}
	d.say("after that the next up completed, the one after it found nothing to do, and the doctor found nothing wrong")
	return nil
}

// fresh makes the host one on which nothing is installed.
func (d interruption) fresh(ctx context.Context, dir string) error {
	return errors.Join(d.purge(ctx, dir), d.simulatorData("interrupted"))
}

// purge removes the installation, if there is one.
func (d interruption) purge(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir + "/appliance.yaml"); err == nil {
		if _, err := d.command(ctx, d.program, "down", "--dir", dir, "--purge", "--yes"); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// simulatorData makes the simulator of an installation keep its data when its
// container is recreated, as Rocket.Chat keeps its data in MongoDB.
func (d interruption) simulatorData(install string) error {
	_, simulated, err := d.images()
	if err != nil || !simulated {
		return err
	}
	if err := os.MkdirAll(d.path(install+"/data"), 0o755); err != nil { //nolint:gosec // containers read it
		return err
	}
	return errors.Join(ownedDir(d.path(install+"/data/rocketsim"), 65533),
		d.write(install+"/compose.override.yaml", []byte("services:\n  rocketchat:\n    volumes: [\"./data/rocketsim:/data\"]\n"), 0o644))
}

// planned returns the steps of a new installation.
func (d interruption) planned(ctx context.Context, args []string) ([]string, error) {
	out, err := d.command(ctx, d.program, append(slices.Clone(args), "--json", "--dry-run")...)
	if err != nil {
		return nil, err
	}
	var plan struct {
		Steps []struct {
			ID string `json:"id"`
		} `json:"steps"`
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range plan.Steps {
		ids = append(ids, s.ID)
	}
	if len(ids) < 5 {
		return nil, fmt.Errorf("only the steps %v", ids)
	}
	return ids, nil
}

// killed starts the program and kills it some time after a step has begun. It
// reports whether the program was still there to be killed.
func (d interruption) killed(ctx context.Context, args []string, step string, after time.Duration) (bool, error) {
	cmd := exec.CommandContext(ctx, d.program, append([]string{"--json"}, args...)...) //nolint:gosec // our own program
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	began := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var e struct{ Event, Step, State string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || began || e.Event != "step" || e.Step != step || e.State != "started" {
			continue
		}
		began = true
		time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	}
	err = cmd.Wait()
	if !began {
		if err == nil {
			return false, nil // there was nothing to do for it this time
		}
		return false, fmt.Errorf("the step %s never began: %w", step, err)
	}
	exit, failed := errors.AsType[*exec.ExitError](err)
	return failed && !exit.Exited(), nil
}
