package provision

import (
	"context"
	"os"
	"slices"

	"appliance/provision/plan"
	"appliance/provision/service"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// Down stops the services. With purge it also removes everything but certificates and backups,
// and leaves the record that a later uninstall needs to remove those.
func Down(ctx context.Context, s *site.Site, purge bool, r Reporter) error {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	var left site.Purged
	if purge {
		services, err := s.Stack.Services(ctx)
		if err != nil {
			return err
		}
		left.Images = imagesOf(services)
	}
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
		if err := s.LeavePurged(left); err != nil { // first, so that it survives an interrupted purge
			return err
		}
		return s.Stack.Tree().Purge(site.PurgedFile)
	})
}

// imagesOf returns the images that the services run, without duplicates.
func imagesOf(services map[string]plan.Service) []string {
	var out []string
	for _, service := range services {
		out = append(out, service.Image)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Uninstall removes everything that was installed: containers, data, configuration,
// secrets, certificates and images that nothing else uses; with all, backups too. The
// program itself stays, and so does the directory, unless this program made it.
func Uninstall(ctx context.Context, s *site.Site, all bool, r Reporter) error {
	if err := Down(ctx, s, true, r); err != nil {
		return err
	}
	return removeRest(ctx, s.Dir, all, r)
}

// UninstallPurged is Uninstall for what a purge left in dir. It returns a *site.AbsentError if
// there was no purge.
func UninstallPurged(ctx context.Context, dir string, all bool, r Reporter) error {
	s, _, err := site.AfterPurge(dir)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	unlock, err := s.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return removeRest(ctx, dir, all, r)
}

// removeRest removes what a purge left behind.
func removeRest(ctx context.Context, dir string, all bool, r Reporter) error {
	s, left, err := site.AfterPurge(dir)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return plan.Track(r, plan.Step{ID: "uninstall", Title: "remove certificates and images"}, func() error {
		if err := stack.SwapFileOf(dir).Remove(ctx); err != nil {
			return err
		}
		for _, name := range left.Images {
			s.Stack.Images().Remove(ctx, name)
		}
		gone := []string{s.CertsDir(), s.Path(".lock")}
		if all {
			gone = append(gone, s.Path(site.BackupsDir), s.Path(site.BackupKey))
		}
		for _, name := range gone {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
		_ = os.Remove(s.Path("data")) // if it is empty
		return leave(s)
	})
}

// leave removes the directory if this program created it and it is empty. While it holds
// backups, the record that an uninstall of these needs stays too.
func leave(s *site.Site) error {
	for _, name := range []string{site.BackupsDir, site.BackupKey} {
		if _, err := os.Lstat(s.Path(name)); err == nil {
			return nil
		}
	}
	if err := os.Remove(s.Path(site.PurgedFile)); err != nil {
		return err
	}
	if os.Remove(s.Path(stack.MadeFile)) != nil {
		return nil // the directory existed before
	}
	left, err := os.ReadDir(s.Dir)
	if err != nil || len(left) > 0 {
		return err
	}
	return os.Remove(s.Dir)
}
