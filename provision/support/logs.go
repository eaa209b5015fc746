package support

import (
	"context"
	"io"

	"appliance/provision/site"
)

// Logs writes the logs of the services, without secrets. since is a time or a
// duration such as 1h30m; "" for no limit.
func Logs(ctx context.Context, s *site.Site, out, errOut io.Writer, follow bool, tail, since string, services ...string) error {
	m := newMask(s)
	to, errTo := m.writer(out), m.writer(errOut)
	defer to.flush()
	defer errTo.flush()
	return s.Stack.Compose().Logs(ctx, to, errTo, follow, tail, since, services...)
}
