package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A loss loses the whole host and restores a backup.
type loss struct{ *demo }

// lose shows what a backup is good for: people talk while it is made, the host
// loses everything, the backup is restored, and the conversation continues without
// loss or duplicates.
func (d loss) lose(ctx context.Context, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute+time.Duration(messages)*time.Second)
	defer cancel()
	t, err := d.converse(ctx, "lose")
	if err != nil {
		return err
	}
	key := d.path("backup_passphrase")
	if _, err := d.secret("backup_passphrase", 0); err != nil {
		return err
	}
	// One backup in the middle of a flood: its pause must lose nothing.
	during := d.path("during.tar.zst.age")
	if err := removeFiles(during, d.path("lose.tar.zst.age")); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.flood(gctx, messages) })
	g.Go(func() error { _, err := d.backup(gctx, during, key); return err })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	d.say("%d messages each way while a backup was made: every one exactly once and in order on both sides", messages)

	file := d.path("lose.tar.zst.age")
	restart, err := d.restart(ctx)
	if err != nil {
		return err
	}
	if err := d.idle(ctx, file, key, restart); err != nil {
		return err
	}
	if err := d.destroy(ctx); err != nil {
		return err
	}
	if err := d.refusesDamaged(ctx, file, key); err != nil {
		return err
	}
	start := time.Now()
	if _, err := d.command(ctx, d.program, "restore", file, "--dir", d.install(), "--passphrase-file", key, "--accept-overrides"); err != nil {
		return err
	}
	d.say("restored in %.1f s", seconds(start))
	if _, err := d.command(ctx, d.program, "doctor", "--dir", d.install()); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return fmt.Errorf("after the restore: %w", err)
	}
	if err := t.flood(ctx, messages); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return fmt.Errorf("the conversation after the restore: %w", err)
	}
	d.say("%d more messages each way after everything was lost and restored: nothing lost or duplicated; the doctor finds nothing wrong", messages)
	return removeFiles(during, file)
}

// talk is a conversation that spans several floods.
type talk struct {
	*cast
	d            *demo
	room, mxRoom string
	said         int // each way
}

// converse signs both in and brings them into a new room of a kind.
func (d *demo) converse(ctx context.Context, kind string) (*talk, error) {
	c, _, err := d.enter(ctx, "meter", "Meter", []string{"user", "bot"})
	if err != nil {
		return nil, err
	}
	t := &talk{cast: c, d: d}
	if t.room, t.mxRoom, err = c.meet(ctx, fmt.Sprintf("%s-%x", kind, time.Now().UnixMilli())); err != nil {
		return nil, err
	}
	return t, c.warmUp(ctx, t.room, t.mxRoom)
}

// flood sends n more messages from both.
func (t *talk) flood(ctx context.Context, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	nothing := func() {}
	g.Go(func() error {
		return flood(ctx, t.said, n, nothing, func(id, text string) error { return once(t.alice.say(ctx, t.room, id, "r "+text)) })
	})
	g.Go(func() error {
		return flood(ctx, t.said, n, nothing, t.d.paced(ctx, t.cast, t.room, func(id, text string) error { return t.bob.send(ctx, t.mxRoom, id, "m "+text) }))
	})
	err := g.Wait()
	t.said += n
	return err
}

// settle waits for everything that was ever said and checks it.
func (t *talk) settle(ctx context.Context) error {
	inMX, inRC, err := t.settled(ctx, t.room, t.mxRoom, t.said, all(t.said))
	if err != nil {
		return err
	}
	return errors.Join(inOrder("Matrix", "r ", inMX, t.said), inOrder("Rocket.Chat", "m ", inRC, t.said))
}

// A backup of an idle installation may stop the bridge for pauseLimit, or for pauseRestarts
// times as long as Docker takes to restart its container here, whichever is longer.
const (
	pauseLimit    = 2 * time.Second
	pauseRestarts = 3
)

// idle makes a backup while nobody talks. Other load on this machine may have lengthened
// the first pauses; the shortest counts. restart is how long Docker takes to restart the bridge.
func (d loss) idle(ctx context.Context, file, key string, restart time.Duration) error {
	limit, pause := max(pauseLimit, pauseRestarts*restart), time.Duration(0)
	for range 3 {
		err := removeFiles(file)
		if err == nil {
			pause, err = d.backup(ctx, file, key)
		}
		if err != nil || pause <= limit {
			return err
		}
	}
	return fmt.Errorf("a backup while nobody talks stopped the bridge for %s, three times; at most %s, and Docker restarts its container in %s", pause, limit, restart)
}

// restart restarts the bridge's container twice and returns the shorter time.
func (d loss) restart(ctx context.Context) (time.Duration, error) {
	ids, err := world(d).containersOf(ctx, d.install(), bridgeOnly)
	if err != nil || len(ids) == 0 {
		return 0, errors.Join(errors.New("there is no bridge"), err)
	}
	best := time.Hour
	for range 2 {
		start := time.Now()
		if _, err := d.command(ctx, "docker", "restart", ids[0]); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	return best, nil
}

// backup makes a backup, verifies it, and returns how long the bridge was stopped.
func (d loss) backup(ctx context.Context, file, key string) (time.Duration, error) {
	out, err := d.command(ctx, d.program, "backup", "--dir", d.install(), "--output", file, "--passphrase-file", key, "--json")
	if err != nil {
		return 0, err
	}
	var saved struct {
		Content int64         `json:"content"`
		Pause   time.Duration `json:"pause_ns"`
	}
	if err := json.Unmarshal([]byte(out), &saved); err != nil {
		return 0, err
	}
	if saved.Pause <= 0 {
		return 0, fmt.Errorf("the backup does not say how long the bridge was stopped: %s", out)
	}
	d.say("backup of %.1f MB; the bridge was stopped for %s", float64(saved.Content)/1e6, saved.Pause.Round(100*time.Millisecond))
	_, err = d.command(ctx, d.program, "backup", "verify", file, "--passphrase-file", key)
	return saved.Pause, err
}

// destroy loses the host: containers, networks and files, including certificates.
func (d *demo) destroy(ctx context.Context) error {
	ids, err := world{d}.containersOf(ctx, d.install())
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return os.RemoveAll(d.install())
	}
	name, err := d.projects(ctx)
	if err != nil {
		return err
	}
	if _, err := d.command(ctx, "docker", append([]string{"rm", "-f"}, ids...)...); err != nil {
		return err
	}
	// The next installation may have another name, and would leave these networks alone.
	networks, err := d.command(ctx, "docker", "network", "ls", "-q", "--filter", "label=com.docker.compose.project="+name)
	if err != nil {
		return err
	}
	if list := strings.Fields(networks); len(list) > 0 {
		if _, err := d.command(ctx, "docker", append([]string{"network", "rm"}, list...)...); err != nil {
			return err
		}
	}
	return os.RemoveAll(d.install())
}

// bridgeOnly is the label of the containers of the bridge.
const bridgeOnly = "com.docker.compose.service=bridge"

// containersOf returns the containers that Compose made from a directory, and that have all
// the labels.
func (d world) containersOf(ctx context.Context, dir string, labels ...string) ([]string, error) {
	args := []string{"ps", "-aq", "--filter", "label=com.docker.compose.project.working_dir=" + dir}
	for _, label := range labels {
		args = append(args, "--filter", "label="+label)
	}
	out, err := d.command(ctx, "docker", args...)
	return strings.Fields(out), err
}

// refusesDamaged restores damaged copies of a backup, which must leave nothing behind.
func (d loss) refusesDamaged(ctx context.Context, file, key string) error {
	good, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	damaged := d.path("damaged")
	for what, data := range map[string][]byte{"truncated": good[:len(good)/2], "altered": flipped} {
		if err := os.WriteFile(damaged, data, 0o600); err != nil {
			return err
		}
		if _, err := d.command(ctx, d.program, "restore", damaged, "--dir", d.install(), "--passphrase-file", key, "--accept-overrides"); err == nil {
			return fmt.Errorf("a backup that is %s was restored", what)
		}
		if _, err := os.Lstat(d.install()); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("a backup that is %s left something behind", what)
		}
	}
	return os.Remove(damaged)
}

func removeFiles(names ...string) error {
	var errs []error
	for _, name := range names {
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
