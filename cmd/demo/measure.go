package main

import (
	"bufio"
	"context"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// homeserverIP is the internal address at which the demo reaches our homeserver.
const homeserverIP = "198.18.47.11"

// samples is how many messages each kind of measurement sends.
const samples = 60

// A meter measures delays and memory.
type meter struct{ *demo }

// measure compares messages that cross the bridge with events sent to the same
// homeserver directly, in turn, as seen by the same observer on that homeserver.
func (d meter) measure(ctx context.Context, admin *chatUser) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var f figures
	c, _, err := d.enter(ctx, "meter", "Meter", []string{"user", "bot"}) // bot: no limit on requests
	if err != nil {
		return f, err
	}
	room, mxRoom, err := c.meet(ctx, "meter-"+strconv.FormatInt(time.Now().UnixMilli(), 36))
	if err != nil {
		return f, err
	}
	token, err := os.ReadFile(d.path("install/secrets/bridge/as_token"))
	if err != nil {
		return f, err
	}
	ghost := "@meter:" + serverName
	inside := &matrixUser{id: ghost, as: ghost, base: "http://" + homeserverIP + ":8008", token: strings.TrimSpace(string(token)), client: &http.Client{Timeout: time.Minute}}
	if _, _, err := inside.sync(ctx); err != nil {
		return f, fmt.Errorf("watch the homeserver: %w", err)
	}
	if err := c.alice.say(ctx, room, newID(), "warming up"); err != nil {
		return f, err
	}
	if _, err := inside.waitFor(ctx, mxRoom, "warming up"); err != nil {
		return f, err
	}
	var bridged, direct []float64
	for i := range samples {
		ms, err := timed(ctx, inside, mxRoom, fmt.Sprint("bridged ", i), func(text string) (time.Time, error) {
			err := c.alice.say(ctx, room, newID(), text)
			return time.Now(), err
		})
		if err != nil {
			return f, err
		}
		bridged = append(bridged, ms)
		ms, err = timed(ctx, inside, mxRoom, fmt.Sprint("direct ", i), func(text string) (time.Time, error) {
			start := time.Now()
			return start, inside.send(ctx, mxRoom, newID(), text)
		})
		if err != nil {
			return f, err
		}
		direct = append(direct, ms)
	}
	f.DelayP50, f.DelayP99 = percentile(bridged, 50), percentile(bridged, 99)
	f.DirectP50, f.DirectP99 = percentile(direct, 50), percentile(direct, 99)
	f.RSS, err = d.rss(ctx, "bridge")
	_ = admin
	return f, err
}

// timed returns the milliseconds from the time that send reports until the observer sees
// the text.
func timed(ctx context.Context, observer *matrixUser, room, text string, send func(string) (time.Time, error)) (float64, error) {
	type outcome struct {
		at  time.Time
		err error
	}
	seen := make(chan outcome, 1)
	go func() {
		_, err := observer.waitFor(ctx, room, text)
		seen <- outcome{time.Now(), err}
	}()
	start, err := send(text)
	if err != nil {
		return 0, err
	}
	got := <-seen
	return max(0, milliseconds(got.at.Sub(start))), got.err
}

func percentile(values []float64, p int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

// container returns the name of a service's container.
func (d meter) container(ctx context.Context, service string) (string, error) {
	out, err := d.command(ctx, "docker", "compose", "--project-directory", d.install(), "ps", "--format", "{{.Name}}", service)
	if err == nil && strings.TrimSpace(out) == "" {
		err = fmt.Errorf("the service %s does not run", service)
	}
	names := strings.Fields(out)
	if len(names) == 0 {
		return "", err
	}
	return names[mrand.IntN(len(names))], err //nolint:gosec // one of several, any
}

// pid returns the process of a service.
func (d meter) pid(ctx context.Context, service string) (int, error) {
	name, err := d.container(ctx, service)
	if err != nil {
		return 0, err
	}
	out, err := d.command(ctx, "docker", "inspect", "-f", "{{.State.Pid}}", name)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err == nil && pid == 0 {
		err = fmt.Errorf("the service %s has no process", service)
	}
	return pid, err
}

// rss returns the resident memory of a service's process, in bytes.
func (d meter) rss(ctx context.Context, service string) (int64, error) {
	pid, err := d.pid(ctx, service)
	if err != nil {
		return 0, err
	}
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("the memory of %s is not known", service)
}
