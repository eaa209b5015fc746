package provision

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/doctor"
	"appliance/provision/finding"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/stack"
)

// An Installed is an installation that exists.
type Installed struct {
	Answers answers.Answers
	p       *Prepared
}

// AnswersPath is where an installation keeps its answers.
func AnswersPath(dir string) string { return filepath.Join(dir, "appliance.yaml") }

// OpenInstalled reads the answers of the installation in dir.
func OpenInstalled(dir string) (*Installed, error) {
	draft := answers.NewDraft()
	err := draft.File(AnswersPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &AbsentError{Dir: dir}
	}
	if err != nil {
		return nil, err
	}
	a, err := draft.Finish()
	if err != nil {
		return nil, err
	}
	s, err := stack.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Installed{Answers: a, p: &Prepared{opts: Options{Dir: dir, Answers: a}, stack: s}}, nil
}

// Close ends what OpenInstalled opened.
func (i *Installed) Close() error { return i.p.Close() }

// Status is what runs and what certificates there are.
type Status struct {
	Dir          string         `json:"dir"`
	ChatURL      string         `json:"chat_url"`
	ServerName   string         `json:"server_name"`
	Services     []plan.Service `json:"services"`
	Certificates []certs.Status `json:"certificates"`
}

// Status looks at the installation without judging it.
func (i *Installed) Status(ctx context.Context) (Status, error) {
	st := Status{Dir: i.p.opts.Dir, ChatURL: i.Answers.ChatURL(), ServerName: i.Answers.ServerName}
	services, err := i.p.stack.Services(ctx)
	if err != nil {
		return st, err
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		st.Services = append(st.Services, services[name])
	}
	st.Certificates, err = i.Certificates()
	return st, err
}

// Certificates looks at the certificate of every host.
func (i *Installed) Certificates() ([]certs.Status, error) {
	var out []certs.Status
	for _, host := range i.Answers.Hosts() {
		c, err := certs.Inspect(i.p.certsDir(), host)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// Doctor looks at everything and says what is wrong. It remembers how full the
// disk is, to tell when it will be full; apart from that it changes nothing.
func (i *Installed) Doctor(ctx context.Context) []finding.Finding {
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = i.p.remember(ctx, time.Now()) // somebody else than root may look too
	}()
	defer func() { <-measured }()
	return i.look(ctx)
}

func (i *Installed) look(ctx context.Context) []finding.Finding {
	return doctor.Run(ctx, i.p.patient())
}

// Logs writes what the services say, without secrets. since is a time or a
// duration such as 1h30m; "" for no limit.
func (i *Installed) Logs(ctx context.Context, out, errOut io.Writer, follow bool, tail, since string, services ...string) error {
	m := i.p.newMask()
	to, errTo := m.writer(out), m.writer(errOut)
	defer to.flush()
	defer errTo.flush()
	return i.p.stack.Logs(ctx, to, errTo, follow, tail, since, services...)
}

// Reload makes the bridge read bridge.yaml again. It does so by itself; this is
// for file systems that do not tell it of changes.
func (i *Installed) Reload(ctx context.Context) error { return i.p.stack.Signal(ctx, "bridge", "HUP") }

// Down stops the services. Data stays, unless purge: then everything goes but
// certificates and backups.
func (i *Installed) Down(ctx context.Context, purge bool, r Reporter) error {
	unlock, err := i.p.stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	step := plan.Step{ID: "stop", Title: "stop the services"}
	err = reported(r, step, func() error {
		return i.p.stack.Down(ctx, purge, (&executor{Prepared: i.p, step: step.ID, r: r}).hear)
	})
	if err != nil || !purge {
		return err
	}
	return reported(r, plan.Step{ID: "purge", Title: "remove everything but certificates and backups"}, func() error {
		if err := i.forgetService(ctx); err != nil {
			return err
		}
		i.p.stack.RemoveOldImages(ctx, "")
		return i.p.stack.Purge()
	})
}

func reported(r Reporter, step plan.Step, do func() error) error {
	r.Step(step, plan.Started, "")
	if err := do(); err != nil {
		r.Step(step, plan.Failed, err.Error())
		return err
	}
	r.Step(step, plan.Done, "")
	return nil
}

// Exists reports whether something is installed in dir.
func Exists(dir string) bool { _, err := os.Stat(AnswersPath(dir)); return err == nil }

// Images are the names of all images that an installation may use.
func Images() map[string]string { return render.Images() }

// Edit lets somebody edit a file with the editor that environ names.
func Edit(ctx context.Context, environ []string, file string, in io.Reader, out, errOut io.Writer) error {
	return stack.Edit(ctx, environ, file, in, out, errOut)
}
