package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"appliance/provision/stack"
)

// How far a dump is read ahead of the archive: 8 MB.
const (
	chunkSize   = 32 << 10
	aheadChunks = 256
)

// atSignal is the prefix of a command in a container that makes it wait for a line on standard
// input, and exit if there is none.
var atSignal = []string{"sh", "-c", `read -r go || exit 0; exec "$@"`, "sh"}

// A dumping is a database dump in progress. Its command is started in the container before the
// pause and waits there for a signal, so that the pause is not spent on starting it. It is for
// use by one goroutine.
type dumping struct {
	database
	signal *os.File
	cancel context.CancelFunc
	chunks chan []byte   // of the dump, not yet in the archive; closed at its end
	begun  chan struct{} // closed at the first chunk of the dump, or at its end
	err    error         // valid once chunks is closed
}

// prepare starts the command of a dump in its container, where it waits for the signal.
func (s *saver) prepare(ctx context.Context, d database) (*dumping, error) {
	in, signal, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, to, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), signal.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	u := &dumping{database: d, signal: signal, cancel: cancel, chunks: make(chan []byte, aheadChunks), begun: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		err := s.Stack.Exec(ctx, d.service, in, to, append(slices.Clip(atSignal), d.dump...)...)
		_, _ = in.Close(), to.Close()
		ended <- err
	}()
	go func() {
		u.err = u.readAhead(ctx, out)
		_ = out.Close() // ends the command if it is still writing
		u.err = cmp.Or(<-ended, u.err)
		close(u.chunks)
	}()
	return u, nil
}

// readAhead reads the dump to its end.
func (u *dumping) readAhead(ctx context.Context, out io.Reader) error {
	begun := sync.OnceFunc(func() { close(u.begun) })
	defer begun()
	for {
		chunk := make([]byte, chunkSize)
		n, err := out.Read(chunk)
		if n > 0 {
			select {
			case u.chunks <- chunk[:n]:
				begun()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// begin sends the signal.
func (u *dumping) begin() {
	_, _ = io.WriteString(u.signal, "go\n") // if this fails, the result of the command says why
	_ = u.signal.Close()
}

// snapshot waits until the dump no longer sees later writes. If the dump reflects its
// beginning, that is when its first chunk is there: pg_dump has its snapshot, and a lock on
// every table, before it writes anything.
func (u *dumping) snapshot(ctx context.Context) error {
	select {
	case <-u.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// save writes the whole dump to the archive.
func (u *dumping) save(s *saver) error {
	to := s.w.Database(u.service)
	var err error
	for chunk := range u.chunks {
		if err == nil {
			if _, err = to.Write(chunk); err != nil {
				u.cancel() // the rest would be in no backup
			}
		}
	}
	if err == nil {
		err = u.err
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("save the database %s: %w", u.service, err)
	}
	return nil
}

// end discards what has not been saved, and returns once nothing of the dump is running.
func (u *dumping) end() {
	_ = u.signal.Close()
	u.cancel()
	for range u.chunks { //nolint:revive // thrown away
	}
}

// serve starts the databases that are not running, as when the installation is down, and
// returns a function that stops them again.
func (s *saver) serve(ctx context.Context, list []database) (stop func(), err error) {
	var started []string
	stop = func() {
		if len(started) > 0 {
			_, _ = s.Stack.Stop(context.WithoutCancel(ctx), started...)
		}
	}
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return stop, err
	}
	for _, d := range list {
		if services[d.service].State == "running" {
			continue
		}
		started = append(started, d.service)
		if err := s.Stack.Compose().UpOnly(ctx, func(stack.Event) {}, d.service); err != nil {
			return stop, fmt.Errorf("start the database %s: %w", d.service, err)
		}
	}
	return stop, nil
}
