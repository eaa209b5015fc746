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

// A transition is the way from the previous release to this program, in steps, with a
// conversation that continues through all of them.
type transition struct {
	releases
	commit         string // of the previous release
	old, bad, good string // programs: the previous release, a broken one, this one
	messages       int    // each way after every step
	talk           *talk
	image, project string // of the previous release: the bridge's image, the Compose project
}

// releases builds programs from commits.
type releases struct{ *demo }

// release installs the previous release, built from its commit, and upgrades it
// to this program: first to one that is broken on purpose and spoils the bridge's
// data, which has to be rolled back, then to the good one.
func (d releases) release(ctx context.Context, from string, messages int) error {
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
	t := &transition{releases: d, commit: commit, old: filepath.Join(dir, "old"), bad: filepath.Join(dir, "broken"), good: d.program, messages: messages}
	defer func() { d.program = t.good }()
	start := time.Now()
	if err := errors.Join(d.buildCommit(ctx, commit, dir, t.old), d.buildBroken(ctx, dir, t.bad)); err != nil {
		return err
	}
	d.say("built the release %s, and a broken one, in %.1f s", commit, seconds(start))
	for _, step := range []func(context.Context) error{t.install, t.begin, t.breakAndRollBack, t.upgrade} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return d.appliance(ctx, false) // and finds nothing wrong with what the upgrade left
}

// install puts the previous release on an empty host.
func (t *transition) install(ctx context.Context) error {
	_, simulated, err := t.images()
	if err != nil {
		return err
	}
	if err := errors.Join(t.destroy(ctx), (world{t.demo}).elsewhere(ctx), t.writeAnswers(simulated)); err != nil {
		return err
	}
	t.program = t.old
	start := time.Now()
	err = t.appliance(ctx, false)
	if err != nil && strings.Contains(err.Error(), "systemd: unknown key") { // a release without units has no such answer
		if err := t.withoutSystemd(); err != nil {
			return err
		}
		err = t.appliance(ctx, false)
	}
	if err != nil {
		return fmt.Errorf("the previous release: %w", err)
	}
	t.say("installed the release %s in %.1f s", t.commit, seconds(start))
	return t.writeAnswers(simulated)
}

func (t *transition) withoutSystemd() error {
	text, err := os.ReadFile(t.path("answers.yaml"))
	if err != nil {
		return err
	}
	return t.write("answers.yaml", bytes.Replace(text, []byte("systemd: false\n"), nil, 1), 0o600)
}

// begin starts the conversation and records what is running.
func (t *transition) begin(ctx context.Context) error {
	talk, err := t.converse(ctx, "release")
	if err != nil {
		return err
	}
	t.talk = talk
	if err := t.talk.goOn(ctx, "on the previous release", t.messages); err != nil {
		return err
	}
	if t.image, err = t.bridgeImage(ctx); err != nil {
		return err
	}
	t.project, err = t.projects(ctx)
	return err
}

// breakAndRollBack upgrades to the broken release, which has to be rolled back.
func (t *transition) breakAndRollBack(ctx context.Context) error {
	t.program = t.bad
	start := time.Now()
	out, err := t.command(ctx, t.bad, "upgrade", "--dir", t.demo.install(), "--yes")
	if !rolledBack(err) {
		return fmt.Errorf("the upgrade to a broken release should have been rolled back: %w\n%s", err, out)
	}
	if now, err := t.bridgeImage(ctx); err != nil || now != t.image {
		return fmt.Errorf("the bridge runs %s and not %s: %w", now, t.image, err)
	}
	t.say("upgrade to a release that spoils the bridge's data and dies: rolled back, %.1f s", seconds(start))
	t.program = t.old
	return t.talk.goOn(ctx, "back on the previous release", t.messages)
}

// upgrade upgrades the installation to this program.
func (t *transition) upgrade(ctx context.Context) error {
	t.program = t.good
	start := time.Now()
	if _, err := t.command(ctx, t.good, "upgrade", "--dir", t.demo.install(), "--yes"); err != nil {
		return fmt.Errorf("the upgrade from the previous release: %w", err)
	}
	if now, err := t.bridgeImage(ctx); err != nil || now == t.image {
		return fmt.Errorf("the bridge still runs %s: %w", now, err)
	}
	if now, err := t.projects(ctx); err != nil || now != t.project {
		return fmt.Errorf("the containers of the project %s are those of %q now, and its volumes are lost: %w", t.project, now, err)
	}
	t.say("upgrade from the release %s to this one: %.1f s", t.commit, seconds(start))
	return t.talk.goOn(ctx, "on this release", t.messages)
}

// previous finds the commit of the previous release.
func (d releases) previous(ctx context.Context, from string) (string, error) {
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
func (d releases) source() string { return filepath.Dir(d.dir) }

// buildCommit builds the program of a commit.
func (d releases) buildCommit(ctx context.Context, commit, dir, to string) error {
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

// buildBroken builds this program with a bridge that spoils its data and exits.
func (d releases) buildBroken(ctx context.Context, dir, to string) error {
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

func (d releases) build(ctx context.Context, tree, to, version string, flags ...string) error {
	args := append([]string{"-C", tree, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + version, "-o", to}, flags...)
	_, err := d.command(ctx, "env", append([]string{"CGO_ENABLED=0", "go"}, append(args, "./cmd/appliance")...)...)
	return err
}

// projects names the Compose projects of the installation's containers: one.
func (d *demo) projects(ctx context.Context) (string, error) {
	out, err := d.command(ctx, "docker", "ps", "-a", "--filter", "label=com.docker.compose.project.working_dir="+d.install(), "--format", `{{.Label "com.docker.compose.project"}}`)
	names := strings.Fields(out)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " and "), err
}

// bridgeImage is the image that the bridge runs.
func (d releases) bridgeImage(ctx context.Context) (string, error) {
	name, err := meter(d).container(ctx, "bridge")
	if err != nil {
		return "", err
	}
	out, err := d.command(ctx, "docker", "inspect", "--format", "{{.Image}}", name)
	return strings.TrimSpace(out), err
}
