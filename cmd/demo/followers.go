package main

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// followers are the files that the bridge lets follow later, because their server did not send
// them within seconds: their place among the messages is not promised. The bridge logs each.
// Its methods are safe for concurrent use.
type followers struct {
	mu     sync.Mutex
	events map[string]bool
}

var followsLater = regexp.MustCompile(`msg="a file will follow later" item="?(\$[^ "]+)`)

// read takes what a bridge has logged.
func (f *followers) read(log []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range followsLater.FindAllSubmatch(log, -1) {
		f.events[string(m[1])] = true
	}
}

func (f *followers) has(event string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events[event]
}

// watch reads the logs of all bridges until ctx ends. A container may be replaced, and its log
// is gone then.
func (f *followers) watch(ctx context.Context, d *demo) {
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
		begun := time.Now()
		ids, err := world{d}.containersOf(ctx, d.install(), bridgeOnly)
		if err != nil {
			continue // Docker is being restarted
		}
		for _, id := range ids {
			var log bytes.Buffer
			logs := exec.CommandContext(ctx, "docker", "logs", "--since", strconv.FormatInt(last.Unix()-1, 10), id) //nolint:gosec // an ID that Docker printed
			logs.Stdout, logs.Stderr = &log, &log
			if err = logs.Run(); err != nil {
				break // it is read again
			}
			f.read(log.Bytes())
		}
		if err == nil {
			last = begun
		}
	}
}
