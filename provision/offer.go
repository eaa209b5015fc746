package provision

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/preflight"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// An Offer is a change to the host that its operator may want: the reason, and the exact
// commands to run.
type Offer struct {
	Why      string   `json:"why"`
	Commands []string `json:"commands"`
}

// Text formats the offer for people.
func (o Offer) Text() string {
	return o.Why + ". This helps:\n    " + strings.Join(o.Commands, "\n    ")
}

// SwapOffer returns the swap file that this host should get for the installation in dir. It
// returns false if there is enough memory or swap, or if no swap file can be made.
func SwapOffer(dir string) (Offer, bool) {
	h, done, err := realHost(dir)
	if err != nil {
		return Offer{}, false
	}
	defer done()
	return swapOffer(h, dir)
}

func swapOffer(h preflight.Host, dir string) (Offer, bool) {
	low := preflight.LacksSwap(h)
	if low == "" || preflight.NoSwapFile(h) != "" {
		return Offer{}, false
	}
	return Offer{Why: low, Commands: stack.SwapFileOf(dir).Commands()}, true
}

// DockerOffer returns the commands that install or start whatever this host lacks of Docker.
// Why is empty if nothing is missing. It returns a *NotReadyError if something is missing that
// this system has no packages for, or that only root can install.
func DockerOffer(ctx context.Context, dir string) (Offer, error) {
	h, done, err := realHost(dir)
	if err != nil {
		return Offer{}, err
	}
	defer done()
	r := preflight.DockerRemedy(ctx, h)
	offer := Offer{Why: r.Lacking}
	for _, args := range r.Commands {
		offer.Commands = append(offer.Commands, strings.Join(args, " "))
	}
	if r.Lacking == "" {
		return Offer{}, ctx.Err()
	}
	var fail finding.Finding
	switch {
	case h.EUID != 0:
		fail = finding.Failure(r.Lacking, "only root can install packages", "run it again with: sudo")
	case os.Getenv("DOCKER_HOST") != "":
		fail = finding.Failure(r.Lacking, "DOCKER_HOST names a daemon other than this system's", "unset DOCKER_HOST, or start the one that it names")
	case len(r.Commands) == 0:
		fail = finding.Failure(r.Lacking, "this system has no packages for it", r.Advice)
	default:
		return offer, nil
	}
	return offer, &NotReadyError{[]finding.Finding{fail}}
}

// InstallDocker runs the commands of DockerOffer and waits until Docker answers. Their output
// goes to out. It returns a *NotReadyError if one of them fails, or if Docker still does not
// answer.
func InstallDocker(ctx context.Context, dir string, out io.Writer) error {
	h, done, err := realHost(dir)
	if err != nil {
		return err
	}
	defer done()
	r := preflight.DockerRemedy(ctx, h)
	for _, args := range r.Commands {
		if err := stack.RunOnHost(ctx, out, args); err != nil {
			return failedRemedy(ctx, r, err.Error())
		}
	}
	if len(r.Commands) == 0 {
		return nil
	}
	return awaitDocker(ctx, h, 30*time.Second)
}

func failedRemedy(ctx context.Context, r preflight.Remedy, why string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &NotReadyError{[]finding.Finding{finding.Failure(r.Lacking, why, r.Advice+"; then continue with: appliance up")}}
}

// awaitDocker gives a newly installed Docker time to start.
func awaitDocker(ctx context.Context, h preflight.Host, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		left := preflight.DockerRemedy(ctx, h)
		if left.Lacking == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			if left.Advice == "" {
				left.Advice = "start it with: systemctl start docker"
			}
			return failedRemedy(context.WithoutCancel(ctx), left, "it does not answer although its packages are installed")
		case <-tick.C:
		}
	}
}

// realHost returns this machine. done releases it.
func realHost(dir string) (h preflight.Host, done func(), err error) {
	s, err := site.New(dir, answers.Answers{})
	if err != nil {
		return h, nil, err
	}
	return preflight.RealHost(s.Stack), func() { _ = s.Close() }, nil
}
