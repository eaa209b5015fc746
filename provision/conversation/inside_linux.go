package conversation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Dialer connects from inside the network namespace that a file names.
func Dialer(file func() (string, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		name, err := file()
		if err != nil {
			return nil, err
		}
		type result struct {
			conn net.Conn
			err  error
		}
		out := make(chan result, 1)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with this goroutine
			fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd))
			}
			if err != nil {
				out <- result{nil, fmt.Errorf("enter %s: %w", name, err)}
				return
			}
			conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
			out <- result{conn, err}
		}()
		r := <-out
		return r.conn, r.err
	}
}

// Client speaks HTTP from inside a namespace.
func Client(file func() (string, error)) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: Dialer(file)}}
}
