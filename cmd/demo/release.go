package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// farBack is how many commits back the previous release is looked for where
// there are no tags.
const farBack = 30

// release installs the previous release, built from its commit, and upgrades it
// to this program: first to one that is broken on purpose and spoils the bridge's
// data, which has to go back by itself, then to the good one. The conversation
// goes on through all of it.
func (d *demo) release(ctx context.Context, from string, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	commit, err := d.previous(ctx, from)
	if err != nil {
		return err
	}
	dir := d.path("release")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil { //nolint:gosec // sources
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	start := time.Now()
	old, broken := filepath.Join(dir, "old"), filepath.Join(dir, "broken")
	if err := errors.Join(d.buildCommit(ctx, commit, dir, old), d.buildBroken(ctx, dir, broken)); err != nil {
		return err
	}
	d.say("built the release %s, and a broken one, in %.1f s", commit, seconds(start))
	good := d.program
	defer func() { d.program = good }()

	// The previous release, on a host where nothing is.
	_, simulated, err := d.images()
	if err != nil {
		return err
	}
	if err := errors.Join(d.destroy(ctx), d.elsewhere(ctx), d.writeAnswers(simulated)); err != nil {
		return err
	}
	d.program, start = old, time.Now()
	if err := d.appliance(ctx, false); err != nil {
		return fmt.Errorf("the previous release: %w", err)
	}
	d.say("installed the release %s in %.1f s", commit, seconds(start))
	c, _, err := d.enter(ctx, "meter", "Meter", []string{"user", "bot"})
	if err != nil {
		return err
	}
	t := &talk{cast: c, d: d}
	if t.room, t.mxRoom, err = c.meet(ctx, fmt.Sprintf("release-%x", time.Now().UnixMilli())); err != nil {
		return err
	}
	if err := c.warmUp(ctx, t.room, t.mxRoom); err != nil {
		return err
	}
	if err := t.goOn(ctx, "on the previous release", messages); err != nil {
		return err
	}
	was, err := d.bridgeImage(ctx)
	if err != nil {
		return err
	}
	called, err := d.project(ctx)
	if err != nil {
		return err
	}

	d.program, start = broken, time.Now()
	out, err := d.command(ctx, broken, "upgrade", "--dir", d.install(), "--yes")
	if !wentBack(err) {
		return fmt.Errorf("the upgrade to a broken release should have gone back: %w\n%s", err, out)
	}
	if now, err := d.bridgeImage(ctx); err != nil || now != was {
		return fmt.Errorf("the bridge runs %s and not %s: %w", now, was, err)
	}
	d.say("upgrade to a release that spoils the bridge's data and dies: it went back by itself, %.1f s", seconds(start))
	d.program = old
	if err := t.goOn(ctx, "back on the previous release", messages); err != nil {
		return err
	}

	d.program, start = good, time.Now()
	if _, err := d.command(ctx, good, "upgrade", "--dir", d.install(), "--yes"); err != nil {
		return fmt.Errorf("the upgrade from the previous release: %w", err)
	}
	if now, err := d.bridgeImage(ctx); err != nil || now == was {
		return fmt.Errorf("the bridge still runs %s: %w", now, err)
	}
	if now, err := d.project(ctx); err != nil || now != called {
		return fmt.Errorf("the containers of the project %s are those of %q now, and its volumes are lost: %w", called, now, err)
	}
	d.say("upgrade from the release %s to this one: %.1f s", commit, seconds(start))
	if err := t.goOn(ctx, "on this release", messages); err != nil {
		return err
	}
	return d.appliance(ctx, false) // and finds nothing wrong with what the upgrade left
}

// previous finds the commit of the previous release.
func (d *demo) previous(ctx context.Context, from string) (string, error) {
	git := func(args ...string) (string, error) {
		out, err := d.command(ctx, "git", append([]string{"-C", d.source(), "-c", "safe.directory=*"}, args...)...)
		return strings.TrimSpace(out), err
	}
	if from == "" {
		from, _ = git("describe", "--tags", "--abbrev=0", "HEAD~1") // without tags it is empty
	}
	count, err := git("rev-list", "--first-parent", "--count", "HEAD")
	if err != nil {
		return "", fmt.Errorf("this step builds the previous release from its commit and needs the repository with its history: %w", err)
	}
	commits, err := strconv.Atoi(count)
	if err != nil {
		return "", err
	}
	shallow, err := git("rev-parse", "--is-shallow-repository")
	if err != nil {
		return "", err
	}
	if from == "" && (commits < 2 || shallow == "true" && commits <= farBack) {
		return "", fmt.Errorf("there is no previous release to upgrade from: the history has %d commits (fetch the rest with: git fetch --unshallow; or name a commit that is there with -from)", commits)
	}
	commit, err := git("rev-parse", "--short", "--verify", cmp.Or(from, fmt.Sprintf("HEAD~%d", min(farBack, commits-1)))+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("the previous release is not in this clone (git fetch --unshallow --tags): %w", err)
	}
	return commit, nil
}

// source is the root of the repository.
func (d *demo) source() string { return filepath.Dir(d.dir) }

// buildCommit builds the program of a commit.
func (d *demo) buildCommit(ctx context.Context, commit, dir, to string) error {
	tree, archive := filepath.Join(dir, "src"), filepath.Join(dir, "src.tar")
	if err := os.MkdirAll(tree, 0o755); err != nil { //nolint:gosec // sources
		return err
	}
	if _, err := d.command(ctx, "git", "-C", d.source(), "-c", "safe.directory=*", "archive", "--output", archive, commit); err != nil {
		return err
	}
	if _, err := d.command(ctx, "tar", "-x", "-C", tree, "-f", archive); err != nil {
		return err
	}
	return d.build(ctx, tree, to, commit)
}

// buildBroken builds this program with a bridge that spoils its data and ends.
func (d *demo) buildBroken(ctx context.Context, dir, to string) error {
	const opens = "if s.store, err = store.Open("
	name := filepath.Join(d.source(), "bridge/bridge.go")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(opens)) {
		return fmt.Errorf("%s is not as this step expects it: it lacks %q", name, opens)
	}
	const spoils = `if err := os.WriteFile(cfg.Database[len("sqlite:"):], []byte("spoilt"), 0o600); err == nil {
		return errors.New("this version is broken")
	}
	`
	file := filepath.Join(dir, "bridge.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{name: file}})
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(file, bytes.Replace(text, []byte(opens), []byte(spoils+opens), 1), 0o600), os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	if err != nil {
		return err
	}
	return d.build(ctx, d.source(), to, "broken", "-overlay", filepath.Join(dir, "overlay.json"))
}

func (d *demo) build(ctx context.Context, tree, to, version string, flags ...string) error {
	args := append([]string{"-C", tree, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + version, "-o", to}, flags...)
	_, err := d.command(ctx, "env", append([]string{"CGO_ENABLED=0", "go"}, append(args, "./cmd/appliance")...)...)
	return err
}

// project is the name of the Compose project of all containers of the installation.
func (d *demo) project(ctx context.Context) (string, error) {
	out, err := d.command(ctx, "docker", "ps", "-a", "--filter", "label=com.docker.compose.project.working_dir="+d.install(), "--format", `{{.Label "com.docker.compose.project"}}`)
	names := strings.Fields(out)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " and "), err
}

// bridgeImage is the image that the bridge runs.
func (d *demo) bridgeImage(ctx context.Context) (string, error) {
	name, err := d.container(ctx, "bridge")
	if err != nil {
		return "", err
	}
	out, err := d.command(ctx, "docker", "inspect", "--format", "{{.Image}}", name)
	return strings.TrimSpace(out), err
}
