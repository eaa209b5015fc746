package provision

import (
	"context"
	"os"

	"appliance/provision/plan"
)

// Uninstall removes everything that installing has brought: containers, data,
// configuration, secrets, certificates and images that nobody else uses; with
// all, backups too. The program itself stays.
func (i *Installed) Uninstall(ctx context.Context, all bool, r Reporter) error {
	services, err := i.p.stack.Services(ctx)
	if err != nil {
		return err
	}
	if err := i.Down(ctx, true, r); err != nil {
		return err
	}
	return reported(r, plan.Step{ID: "uninstall", Title: "remove certificates and images"}, func() error {
		for _, s := range services {
			i.p.stack.RemoveImage(ctx, s.Image)
		}
		stay := []string{i.p.path(BackupsDir)}
		if all {
			stay = nil
		}
		if err := clearBut(i.p.opts.Dir, stay); err != nil {
			return err
		}
		_ = os.Remove(i.p.opts.Dir) // if nothing is left in it
		return nil
	})
}
