// Command demo shows the main job on one machine: it builds a small world
// around an installation - a certificate authority and another Matrix server
// with a name of its own - installs with the appliance as an operator would, and
// then plays a conversation through the public front door. What it learns goes
// to summary.json. It is for `make demo`, `make demo-down` and `make test`, not
// part of what is installed.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	dir := flags.String("dir", ".demo", "where the demo keeps its files")
	program := flags.String("appliance", "bin/appliance", "the program under demonstration")
	started := flags.Int64("started", 0, "when the set-up began, in seconds since 1970, for the summary")
	homeserver := flags.String("homeserver", "", "up: dendrite or synapse; that of the installation when there is one")
	messages := flags.Int("messages", 500, "burst, lose, upgrade, release and life: how many messages go each way")
	kill := flags.String("kill", "", "burst: a service to kill -9 in the middle: bridge, rocketchat or homeserver")
	life := flags.Duration("life", time.Minute, "renew: how long certificates live")
	during := flags.Duration("during", 150*time.Second, "renew: how long to open connections")
	from := flags.String("from", "", "release: the commit or tag of the previous release; the newest tag, or else a commit some way back")
	release := flags.String("release", "", "life: a directory with a signed release")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "chaos: what decides about actions and faults") //nolint:gosec // any number does
	last := flags.Duration("for", 2*time.Minute, "chaos: how long the faults go on")
	docker := flags.Bool("docker", false, "chaos: restart the Docker daemon too, which ends every container of this machine for a while")
	replicas := flags.Int("replicas", 1, "up: how many bridges share the work, on PostgreSQL when more than one")
	once := flags.Bool("once", false, "chaos: be content when both sides agree once, and do not read them again five minutes after the last fault")
	rooms := flags.Int("rooms", 50, "chaos: in how many rooms people talk")
	reload := flags.Bool("reload", false, "burst: edit bridge.yaml in the middle")
	if err := flags.Parse(args); err != nil {
		return err
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	exe, err := filepath.Abs(*program)
	if err != nil {
		return err
	}
	d := newDemo(abs, exe)
	d.homeserver = cmp.Or(*homeserver, installedHomeserver(d), "dendrite")
	d.replicas = *replicas
	switch flags.Arg(0) {
	case "up":
		return d.up(ctx, *started)
	case "down":
		return d.down(ctx)
	case "check":
		return inspection{d}.check(ctx)
	case "secrets":
		return inspection{d}.secrets(ctx)
	case "lose":
		return loss{d}.lose(ctx, *messages)
	case "upgrade":
		return upgrades{d}.upgrade(ctx, *messages)
	case "renew":
		return renewal{d}.renew(ctx, *life, *during)
	case "interrupt":
		return interruption{d}.interrupt(ctx)
	case "release":
		return releases{d}.release(ctx, *from, *messages)
	case "attach":
		return attaching{d}.attach(ctx)
	case "life":
		return (&lifetime{demo: d, release: *release}).live(ctx, *messages)
	case "chaos":
		return storm{d, *seed, *last, *rooms, *docker, *once}.blow(ctx)
	case "burst":
		return bursts{d}.burst(ctx, burst{messages: *messages, kill: *kill, reload: *reload})
	}
	return errors.New("say what to do: up, check, burst, lose, upgrade, interrupt, renew, release, attach, life, chaos or down")
}
