package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision"
	"appliance/provision/answers"
	"appliance/provision/site"
)

// answerFlags are the ways to give answers on the command line.
type answerFlags struct {
	file  string
	set   []string
	fresh bool // forget what was answered before
	offer bool // what the host lacks may be proposed
}

func (f *answerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "answers", "", "read answers from `FILE`")
	cmd.Flags().BoolVar(&f.fresh, "start-over", false, "ask everything again: forget the answers of a run that was not completed")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "set an answer, as `key=value`; may be repeated")
}

// A missingError names required answers without a value.
type missingError struct{ keys []string }

func (e *missingError) Error() string {
	return "missing answers, and no terminal to ask on: " + strings.Join(e.keys, ", ")
}

// Hint says how to give them.
func (e *missingError) Hint() string {
	var sets []string
	for _, k := range e.keys {
		sets = append(sets, "--set "+k+"=...")
	}
	return "write them into a file and name it with --answers, or give them with: " + strings.Join(sets, " ")
}

// collect brings the answers together: defaults, then a file (the named one, or
// what the installation was made with), the environment, --set and, when
// something is still missing and there is a terminal, the wizard.
// It reports whether the wizard ran.
func (a *app) collect(ctx context.Context, f answerFlags, ask bool) (got answers.Answers, asked bool, err error) {
	draft, err := a.draft(f)
	if err != nil {
		return got, false, err
	}
	missing := draft.Missing()
	if len(missing) > 0 || ask {
		asked, err = a.ask(ctx, draft, f.fresh)
	}
	if asked && err == nil {
		err = askSystemd(a, draft)
	}
	if err == nil && f.offer && !draft.Bad() && (asked || len(missing) == 0) {
		err = askSwap(a, draft)
	}
	switch {
	case err != nil:
		return got, asked, err
	case !asked && len(missing) > 0 && !draft.Bad():
		return got, false, &missingError{missing}
	}
	got, err = draft.Finish()
	return got, asked, err
}

// draft collects what is known without asking.
func (a *app) draft(f answerFlags) (*answers.Draft, error) {
	draft := answers.NewDraft()
	if err := readable(a); err != nil {
		return nil, err
	}
	switch {
	case f.file != "":
		if err := draft.File(f.file); err != nil {
			return nil, &usageError{err: fmt.Errorf("answers: %w", err), hint: "create an answers file with: appliance init --output " + site.Quoted(f.file)}
		}
	case site.Exists(a.dir):
		if err := draft.File(site.AnswersPath(a.dir)); err != nil {
			return nil, err
		}
	}
	draft.Environ(a.env.Environ)
	for _, s := range f.set {
		draft.Assign(s)
	}
	return draft, nil
}

// changed applies the environment and --set to answers that are complete.
func changed(a *app, saved answers.Answers, set []string) (answers.Answers, error) {
	draft := answers.NewDraft()
	draft.Answers = saved
	draft.Environ(a.env.Environ)
	for _, s := range set {
		draft.Assign(s)
	}
	return draft.Finish()
}

// ask runs the wizard on a terminal, after the checks of the host, so that nobody answers
// questions for a host that is not fit. The answers are kept in a file until they are used.
func (a *app) ask(ctx context.Context, draft *answers.Draft, fresh bool) (asked bool, err error) {
	tty := a.terminal()
	if tty == nil {
		return false, nil
	}
	defer func() { _ = tty.Close() }()
	findings, err := provision.LookAtHost(ctx, a.dir, draft.Answers)
	if err != nil {
		return true, err
	}
	ui.Host(tty, colours(a, tty), a.findings(findings))
	file := string(keptDraft(a))
	if fresh {
		keptDraft(a).forget()
	}
	if n := draft.Resume(file); n > 0 {
		fmt.Fprintf(tty, "%s from last time: %s; ask everything again with --start-over.\n\n", counted(n, "answer is", "answers are"), file)
	}
	if err := wizard.Ask(tty, draft, func() { _ = draft.Keep(file) }); err != nil { // without the file they are asked again
		return true, interrupted(a)
	}
	return true, nil
}

// absolute makes --dir independent of the working directory.
func (a *app) absolute() error {
	dir, err := filepath.Abs(a.dir)
	a.dir = dir
	return err
}
