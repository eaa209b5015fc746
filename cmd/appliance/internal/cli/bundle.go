package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"appliance/provision/bundle"
	"appliance/provision/homeserver"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/stack"
)

func bundleCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry the program and its images to a host without internet access",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(bundleCreateCommand(a), bundleLoadCommand(a))
	return cmd
}

func bundleCreateCommand(a *app) *cobra.Command {
	var homeservers []string
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Put this program and its images into one file",
		Long: "Fetches the images that this program was tested with, unless they are here, and writes them and this program to FILE.\n" +
			"On the other host: tar xf FILE appliance && ./appliance bundle load FILE",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			program, err := a.env.Executable()
			if err != nil {
				return err
			}
			names, err := bundledImages(homeservers)
			if err != nil {
				return err
			}
			return bundling(a, cmd.Context(), plan.Step{ID: "bundle", Title: "write " + args[0]}, func(ctx context.Context, images stack.Images, hear func(string, int64, int64)) (bundle.Outcome, error) {
				return bundle.Create(ctx, images, bundle.Plan{File: args[0], Program: program, Version: a.buildInfo().Version, Names: names, Progress: hear})
			}, "wrote %s with %s, SHA-256 %s\n")
		},
	}
	cmd.Flags().StringSliceVar(&homeservers, "homeserver", homeserver.Bundled()[:1], "the `KIND` of homeserver whose images are included; may be repeated")
	return cmd
}

func bundleLoadCommand(a *app) *cobra.Command {
	var sum string
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Verify a bundle and load its images into Docker; then run: appliance up",
		Long: "Reads all of FILE and compares every checksum before anything is loaded. It changes no installation: use\n" +
			"appliance up or appliance upgrade for that.",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bundling(a, cmd.Context(), plan.Step{ID: "bundle", Title: "load " + args[0]}, func(ctx context.Context, images stack.Images, hear func(string, int64, int64)) (bundle.Outcome, error) {
				return bundle.Load(ctx, images, args[0], sum, hear)
			}, "verified and loaded %s: %s, SHA-256 %s\n")
		},
	}
	cmd.Flags().StringVar(&sum, "sha256", "", "the file must have the checksum `HEX`, which appliance bundle create printed")
	return cmd
}

// bundling shows the progress of do and its outcome.
func bundling(a *app, ctx context.Context, step plan.Step, do func(context.Context, stack.Images, func(string, int64, int64)) (bundle.Outcome, error), says string) error {
	if err := a.absolute(); err != nil {
		return err
	}
	docker, err := stack.Open(a.dir)
	if err != nil {
		return err
	}
	defer func() { _ = docker.Close() }()
	printer := a.printer()
	printer.Step(step, plan.Started, "")
	out, err := do(ctx, docker.Images(), func(what string, done, total int64) { printer.Progress(step.ID, what, done, total) })
	if err != nil {
		printer.Step(step, plan.Failed, err.Error())
		printer.Close()
		return err
	}
	printer.Step(step, plan.Done, "")
	printer.Close()
	return a.show(out, func(w io.Writer) {
		fmt.Fprintf(w, says, out.File, counted(len(out.Images), "image", "images"), out.SHA256)
	})
}

// bundledImages returns the images that this program was tested with, except those of
// homeservers that are not wanted.
func bundledImages(wanted []string) ([]string, error) {
	kinds, images := homeserver.Bundled(), render.Images()
	delete(images, "PROMETHEUS_IMAGE") // few want it, and it would be a third of the bundle
	for _, name := range wanted {
		if !slices.Contains(kinds, name) {
			return nil, &usageError{err: fmt.Errorf("--homeserver is %q, and not one of %s", name, strings.Join(kinds, ", "))}
		}
	}
	for _, name := range kinds {
		if run := homeserver.Of(name).Stack; !slices.Contains(wanted, name) {
			delete(images, run.ImageKey)
			if run.AdminPage {
				delete(images, "SYNAPSE_ADMIN_IMAGE")
			}
		}
	}
	return slices.Sorted(maps.Values(images)), nil
}
