package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision"
	"appliance/provision/plan"
	"appliance/provision/site"
)

type upOptions struct {
	answerFlags
	dryRun, accept, overwrite, yes bool
	own                            bool // the file began as a copy of the installation's own answers
	ask                            bool // ask at the terminal before anything is changed
	docker                         bool // install what is missing of Docker without asking
	copied                         bool // the homeserver's data is in the database that the answers name
	patience                       time.Duration
}

func upCommand(a *app) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:        "up",
		Aliases:    []string{"start"},
		SuggestFor: []string{"install", "apply", "deploy", "restart"},
		Example:    "  appliance up\n  appliance up --dry-run\n  appliance up --set domain=chat.example.org --set email=ops@example.org --yes",
		Short:      "Install, or apply changed answers; safe to run at any time",
		Args:       exactly(0),
		RunE:       func(cmd *cobra.Command, _ []string) error { return a.up(cmd.Context(), o) },
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the plan and exit")
	cmd.Flags().BoolVar(&o.accept, "accept-edits", false, "keep files that were edited by hand")
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "overwrite files that were edited by hand")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
	cmd.Flags().BoolVar(&o.docker, "install-docker", false, "install Docker and its Compose plugin without asking if they are missing; see: appliance prepare")
	cmd.Flags().BoolVar(&o.copied, "homeserver-database-copied", false, "use another homeserver_database, to which the data was copied; see docs/external.md")
	cmd.Flags().DurationVar(&o.patience, "patience", 20*time.Second, "how long to wait for a changed installation to become healthy")
	cmd.MarkFlagsMutuallyExclusive("accept-edits", "overwrite")
	return cmd
}

func (o upOptions) edits() plan.Choice {
	switch {
	case o.accept:
		return plan.Accept
	case o.overwrite:
		return plan.Overwrite
	}
	return plan.Ask
}

func (a *app) up(ctx context.Context, o upOptions) error {
	if err := a.absolute(); err != nil {
		return err
	}
	if !o.dryRun {
		if err := offerDocker(a, ctx, o.docker); err != nil {
			return err
		}
	}
	o.offer = !o.dryRun && !o.yes && !a.json && !a.quiet
	got, asked, err := a.collect(ctx, o.answerFlags, false)
	if err != nil {
		return err
	}
	program, err := a.env.Executable()
	if err != nil {
		return err
	}
	p, err := provision.Prepare(ctx, provision.Options{Dir: a.dir, Answers: got, Edits: o.edits(), Program: program, DatabaseCopied: o.copied, Foreign: o.file != "" && !o.own, Checks: databaseChecks(got)})
	if p != nil {
		defer func() { _ = p.Close() }()
	}
	if err != nil {
		if asked && keptDraft(a).exists() {
			note(a, "your answers are kept: nothing will be asked twice")
		}
		return err
	}
	if o.dryRun {
		return printPlan(a, p)
	}
	if (asked || o.ask && a.onTerminal()) && !o.yes && !p.Plan.Empty() {
		ui.Plan(a.env.Stdout, p.Plan)
		if err := agree(a, "Go on?"); err != nil {
			return err
		}
	}
	err = apply(a, ctx, p, o.patience)
	if site.Exists(a.dir) { // the answers are there now
		keptDraft(a).forget()
	}
	return err
}

func printPlan(a *app, p *provision.Prepared) error {
	if a.json {
		return ui.PlanJSON(a.env.Stdout, p.Plan, a.findings(p.Findings))
	}
	warn(a, p.Findings)
	if p.Plan.Empty() {
		fmt.Fprintln(a.env.Stdout, "nothing to do")
	} else {
		fmt.Fprint(a.env.Stdout, p.Plan.String())
	}
	return nil
}

func apply(a *app, ctx context.Context, p *provision.Prepared, patience time.Duration) error {
	changed := !p.Plan.Empty()
	printer := a.printer()
	if !a.json && changed {
		warn(a, p.Findings)
	}
	err := p.Apply(ctx, printer)
	printer.Close()
	if err != nil {
		return err
	}
	report := a.report(p.Report(ctx, changed, patience))
	if a.json {
		return json.NewEncoder(a.env.Stdout).Encode(report)
	}
	ui.Report(a.env.Stdout, colours(a, a.env.Stdout), report)
	lookedAfter(a, report)
	return nil
}
