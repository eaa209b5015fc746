package provision

import (
	"context"
	"os"

	"appliance/provision/plan"
	"appliance/provision/service"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// Down stops the services. With purge it also removes everything but certificates and
// backups.
func Down(ctx context.Context, s *site.Site, purge bool, r Reporter) error {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	step := plan.Step{ID: "stop", Title: "stop the services"}
	err = plan.Track(r, step, func() error { return s.Stack.Compose().Down(ctx, purge, stack.Progress(r, step.ID)) })
	if err != nil || !purge {
		return err
	}
	return plan.Track(r, plan.Step{ID: "purge", Title: "remove everything but certificates and backups"}, func() error {
		if err := service.Forget(ctx, s); err != nil {
			return err
		}
		s.Stack.Images().RemoveOld(ctx, "")
		return s.Stack.Tree().Purge()
	})
}

// Uninstall removes everything that was installed: containers, data,
// configuration, secrets, certificates and images that nothing else uses; with
// all, backups too. The program itself stays.
func Uninstall(ctx context.Context, s *site.Site, all bool, r Reporter) error {
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return err
	}
	if err := Down(ctx, s, true, r); err != nil {
		return err
	}
	return plan.Track(r, plan.Step{ID: "uninstall", Title: "remove certificates and images"}, func() error {
		for _, service := range services {
			s.Stack.Images().Remove(ctx, service.Image)
		}
		stay := []string{s.Path(site.BackupsDir), s.Path(site.BackupKey)}
		if all {
			stay = nil
		}
		if err := stack.RemoveBut(s.Dir, stay...); err != nil {
			return err
		}
		_ = os.Remove(s.Dir) // if nothing is left in it
		return nil
	})
}
