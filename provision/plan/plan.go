// Package plan decides what has to change on a host. It is pure: for the same wanted
// and observed state it returns the same Plan, and it never opens a file, a socket or a
// clock. A Plan is data, so it can be printed and
// compared; an Executor carries it out.
package plan

import (
	"context"
	"fmt"
	"strings"

	"appliance/provision/secrets"
)

// A Step is one change to the host.
type Step struct {
	ID    string   // stable, kebab-case, shown to users and used in tests
	Title string   // imperative, one line: "write the configuration"
	Cause string   // why it is in the plan: "nginx.conf differs"
	After []string // IDs of the steps that must have succeeded first
	Do    Op
}

// An Op says what a step does. Each kind calls the Executor method of its name,
// so a new kind does not compile until every executor can carry it out.
type Op interface {
	Run(ctx context.Context, ex Executor) error
}

// An Executor changes the host. Methods are safe to repeat: on a host that
// already satisfies the operation they change nothing and return nil.
type Executor interface {
	HostExecutor
	ContainerExecutor
}

// A HostExecutor changes files of the host.
type HostExecutor interface {
	MakeSecrets(context.Context, MakeSecrets) error
	WriteFiles(context.Context, WriteFiles) error
	GetCertificate(context.Context, GetCertificate) error
	InstallUnits(context.Context, InstallUnits) error
	MakeSwap(context.Context, MakeSwap) error
}

// A ContainerExecutor changes what runs in containers.
type ContainerExecutor interface {
	BuildImage(context.Context, BuildImage) error
	PullImages(context.Context, PullImages) error
	LockImages(context.Context, LockImages) error
	LoadDatabases(context.Context, LoadDatabases) error
	StartServices(context.Context, StartServices) error
	Load(context.Context, Load) error
	Bootstrap(context.Context, Bootstrap) error
	Rotate(context.Context, Rotate) error
	Prove(context.Context, Prove) error
}

type (
	// MakeSecrets writes new secrets to disk.
	MakeSecrets struct{ Names []secrets.Name }
	// WriteFiles makes the directories and puts rendered files in place.
	WriteFiles struct{ Paths []string }
	// GetCertificate gets a certificate for a host from the source in the answers.
	GetCertificate struct {
		Host    string
		Started bool // the service that renews certificates was just started and is obtaining it
	}
	// BuildImage builds the image of this program.
	BuildImage struct{ Name string }
	// PullImages fetches images from their registries, the locked ones by digest, and gives
	// them their names.
	PullImages struct{ Names []string }
	// LockImages records which images the names stand for.
	LockImages struct{}
	// LoadDatabases replaces the content of databases with the dumps of a backup.
	LoadDatabases struct{ Names []string }
	// StartServices starts what is not running, restarts what has changed,
	// removes what is no longer wanted and waits until all are healthy.
	StartServices struct{ Remove []string }
	// Load restarts services that do not run what is on disk, unless they have been
	// restarted since.
	Load struct {
		Services []string
		Wait     bool // until they are healthy, if no later step does
	}
	// Bootstrap makes sure that Rocket.Chat has its administrator and the bridge
	// its account.
	Bootstrap struct{}
	// MakeSwap makes a swap file, enables it and adds it to the table of file systems.
	MakeSwap struct{}
	// Rotate sets the new passwords in databases and writes new secrets to disk.
	Rotate struct{ Names []secrets.Name }
	// Prove makes sure that servers accept the new secrets and refuse the old ones.
	Prove struct{ Names []secrets.Name }
	// InstallUnits adds the systemd units that start the installation at boot, back it up and
	// send alarms.
	InstallUnits struct{}
)

// Run calls ex.MakeSecrets.
func (op MakeSecrets) Run(ctx context.Context, ex Executor) error { return ex.MakeSecrets(ctx, op) }

// Run calls ex.WriteFiles.
func (op WriteFiles) Run(ctx context.Context, ex Executor) error { return ex.WriteFiles(ctx, op) }

// Run calls ex.GetCertificate.
func (op GetCertificate) Run(ctx context.Context, ex Executor) error {
	return ex.GetCertificate(ctx, op)
}

// Run calls ex.BuildImage.
func (op BuildImage) Run(ctx context.Context, ex Executor) error { return ex.BuildImage(ctx, op) }

// Run calls ex.PullImages.
func (op PullImages) Run(ctx context.Context, ex Executor) error { return ex.PullImages(ctx, op) }

// Run calls ex.LockImages.
func (op LockImages) Run(ctx context.Context, ex Executor) error { return ex.LockImages(ctx, op) }

// Run calls ex.LoadDatabases.
func (op LoadDatabases) Run(ctx context.Context, ex Executor) error { return ex.LoadDatabases(ctx, op) }

// Run calls ex.StartServices.
func (op StartServices) Run(ctx context.Context, ex Executor) error { return ex.StartServices(ctx, op) }

// Run calls ex.Load.
func (op Load) Run(ctx context.Context, ex Executor) error { return ex.Load(ctx, op) }

// Run calls ex.Bootstrap.
func (op Bootstrap) Run(ctx context.Context, ex Executor) error { return ex.Bootstrap(ctx, op) }

// Run calls ex.MakeSwap.
func (op MakeSwap) Run(ctx context.Context, ex Executor) error { return ex.MakeSwap(ctx, op) }

// Run calls ex.Rotate.
func (op Rotate) Run(ctx context.Context, ex Executor) error { return ex.Rotate(ctx, op) }

// Run calls ex.Prove.
func (op Prove) Run(ctx context.Context, ex Executor) error { return ex.Prove(ctx, op) }

// Run calls ex.InstallUnits.
func (op InstallUnits) Run(ctx context.Context, ex Executor) error { return ex.InstallUnits(ctx, op) }

// A Plan is a list of steps in an order that respects After.
type Plan struct{ Steps []Step }

// Empty reports whether the host already matches the answers.
func (p Plan) Empty() bool { return len(p.Steps) == 0 }

// String renders one line per step; --dry-run prints it unchanged.
func (p Plan) String() string {
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%2d. %-18s %s (%s)", i+1, s.ID, s.Title, s.Cause)
		if len(s.After) > 0 {
			fmt.Fprintf(&b, " [after %s]", strings.Join(s.After, ", "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// A StepState is the progress of a step.
type StepState string

// States of a step.
const (
	Started    StepState = "started"
	Done       StepState = "done"
	Failed     StepState = "failed"
	NotReached StepState = "not reached"
)

// A Reporter receives the progress of Apply. Methods may be called concurrently.
type Reporter interface {
	// Step says that a step of the plan has reached a state.
	Step(s Step, state StepState, detail string)
	// Progress describes the work inside a step; done and total are bytes, or zero if
	// there is nothing to count.
	Progress(stepID, what string, done, total int64)
}

// Track runs a step and reports to r when it starts and how it ends.
func Track(r Reporter, step Step, do func() error) error {
	r.Step(step, Started, "")
	if err := do(); err != nil {
		r.Step(step, Failed, err.Error())
		return err
	}
	r.Step(step, Done, "")
	return nil
}
