package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A fault is something that goes wrong for a while. do returns when it is over and
// undone.
type fault struct {
	name string
	do   func(ctx context.Context, length time.Duration) error
}

// trouble makes faults in the installation.
type trouble struct{ *demo }

// kinds are the faults that a storm chooses from.
func (d trouble) kinds() []fault {
	var l []fault
	for _, service := range []string{"bridge", "homeserver", "postgres", "rocketchat", "nginx", "certs"} {
		l = append(l, fault{"kill -9 of " + service, func(ctx context.Context, _ time.Duration) error { return d.kill(ctx, service) }})
	}
	for _, service := range []string{"bridge", "homeserver", "rocketchat", "postgres"} {
		l = append(l,
			fault{service + " is paused", func(ctx context.Context, length time.Duration) error { return d.pause(ctx, service, length) }},
			fault{service + " is cut off", func(ctx context.Context, length time.Duration) error {
				return d.filter(ctx, service, length, "-j", "DROP")
			}},
			fault{service + " loses a tenth of what it is sent", func(ctx context.Context, length time.Duration) error {
				return d.filter(ctx, service, length, "-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP")
			}},
			fault{service + " is behind a slow line", func(ctx context.Context, length time.Duration) error { return d.slow(ctx, service, length) }})
	}
	return append(l,
		fault{"bridge.yaml is edited, broken and corrected", func(ctx context.Context, _ time.Duration) error { return bursts(d).reloads(ctx) }},
		fault{"the bridge is restarted", func(ctx context.Context, _ time.Duration) error { return d.compose(ctx, "restart", "bridge") }},
		fault{"the homeserver is restarted", func(ctx context.Context, _ time.Duration) error { return d.compose(ctx, "restart", "homeserver") }})
}

// compose runs docker compose on the installation.
func (d trouble) compose(ctx context.Context, args ...string) error {
	_, err := d.command(ctx, "docker", append([]string{"compose", "--project-directory", d.install()}, args...)...)
	return err
}

// process returns the process of a service, and waits for it while Docker is starting it.
func (d trouble) process(ctx context.Context, service string) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if pid, err = meter(d).pid(ctx, service); err == nil {
			return pid, nil
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(err, ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// kill ends the process of a service. Docker starts it again.
func (d trouble) kill(ctx context.Context, service string) error {
	pid, err := d.process(ctx, service)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil // it had ended already
}

// pause freezes a container.
func (d trouble) pause(ctx context.Context, service string, length time.Duration) error {
	if _, err := d.process(ctx, service); err != nil {
		return err
	}
	if err := d.compose(ctx, "pause", service); err != nil {
		return err
	}
	wait(ctx, length)
	return d.compose(context.WithoutCancel(ctx), "unpause", service)
}

// filter drops traffic that arrives at a service and matches an iptables rule.
func (d trouble) filter(ctx context.Context, service string, length time.Duration, rule ...string) error {
	return d.network(ctx, service, length,
		append([]string{"iptables", "-w", "-I", "INPUT"}, rule...),
		append([]string{"iptables", "-w", "-D", "INPUT"}, rule...))
}

// slow lets a service send no more than 64 kB a second through its first network.
func (d trouble) slow(ctx context.Context, service string, length time.Duration) error {
	return d.network(ctx, service, length,
		strings.Fields("tc qdisc replace dev eth0 root tbf rate 512kbit burst 16kb latency 400ms"),
		strings.Fields("tc qdisc del dev eth0 root"))
}

// network runs a command in the network namespace of a service, and another after a
// while. If the container has ended in between, there is nothing to undo.
func (d trouble) network(ctx context.Context, service string, length time.Duration, do, undo []string) error {
	pid, err := d.process(ctx, service)
	if err != nil {
		return err
	}
	enter := func(ctx context.Context, args []string) error {
		_, err := d.command(ctx, "nsenter", append([]string{"-t", strconv.Itoa(pid), "-n"}, args...)...)
		return err
	}
	if err := enter(ctx, do); err != nil {
		return fmt.Errorf("in the network of %s: %w", service, err)
	}
	wait(ctx, length)
	if err := enter(context.WithoutCancel(ctx), undo); err != nil && syscall.Kill(pid, 0) == nil {
		return fmt.Errorf("in the network of %s: %w", service, err)
	}
	return nil
}

// wait returns after a while, or when ctx ends.
func wait(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}
