package stack

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker/client"

	"appliance/provision/trace"
)

// traced makes a client log every Docker API call whose context has a log. Other calls are not
// affected.
func traced(docker *client.Client) error {
	own, ok := docker.HTTPClient().Transport.(*http.Transport)
	if !ok {
		return nil
	}
	t := transport{own.Clone()} // without what is registered below
	own.RegisterProtocol("http", t)
	own.RegisterProtocol("https", t)
	return nil
}

type transport struct{ base *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !trace.On(req.Context()) {
		return nil, http.ErrSkipAltProtocol
	}
	started := time.Now()
	res, err := t.base.RoundTrip(req)
	status := "failed"
	if err == nil {
		status = res.Status
	}
	trace.Log(req.Context()).Debug("docker", "method", req.Method, "path", req.URL.Path, "status", status, "took", time.Since(started).Round(time.Millisecond))
	return res, err
}

// logged logs a command that is about to run, with its arguments, which hold no secrets.
func logged(ctx context.Context, cmd *exec.Cmd) *exec.Cmd {
	trace.Log(ctx).Debug("run", "command", strings.Join(cmd.Args, " "), "dir", cmd.Dir)
	return cmd
}
