// Package cli is the command line without the process: it takes arguments,
// environment and streams, and returns an exit status. There is one file per command;
// each ends in one call into provision or bridge.
package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision"
	"appliance/provision/finding"
	"appliance/provision/site"
	"appliance/provision/trace"
)

// Env is everything a command may touch besides the host itself.
type Env struct {
	Args        []string
	Environ     []string
	Version     string
	ReleaseKeys []string // public keys of those who may sign a release, in minisign's form
	Stdin       *os.File
	Stdout      io.Writer
	Stderr      io.Writer
	Executable  func() (string, error) // the file of this program
}

// app is what all commands share.
type app struct {
	speaker
	env     Env
	json    bool
	quiet   bool   // only errors and results
	verbose bool   // also what is being done
	colour  string // when words are coloured: one of colourWhen
	began   time.Time
}

// colourWhen are the values of --color.
var colourWhen = []string{"auto", "always", "never"}

// Run executes one command and returns the exit status.
func Run(ctx context.Context, env Env) int {
	a := &app{env: env, began: time.Now()}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if misused, ok := errors.AsType[*usageError](err); ok && misused.hint == "" {
		misused.hint = "see: " + cmd.CommandPath() + " --help"
	}
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(err, errInterrupted):
		err = errInterrupted
	case err != nil && strings.HasPrefix(err.Error(), "if any flags in the group"): // cobra has no type for it
		err = &usageError{err: err, hint: "see: " + cmd.CommandPath() + " --help"}
	}
	return a.finish(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "appliance",
		Short: "Rocket.Chat with Matrix federation, on one host",
		Long: "appliance installs and maintains Rocket.Chat, a Matrix homeserver and the bridge\n" +
			"between them on one host. Start with: appliance up",
		SilenceErrors: true, SilenceUsage: true,
		Args:              noSubcommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return prepare(a, cmd) },
	}
	globalFlags(a, root)
	root.AddCommand(topics()...)
	root.SetHelpCommand(helpCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagMistake(a, cmd, err) })
	root.Version = a.buildInfo().line()
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(
		initCommand(a), prepareCommand(a), upCommand(a), downCommand(a), statusCommand(a), doctorCommand(a),
		logsCommand(a), reloadCommand(a), certsCommand(a), alarmCommand(a), mediaCommand(a), backupCommand(a), restoreCommand(a), upgradeCommand(a),
		configCommand(a), federationCommand(a), supportCommand(a), attachCommand(a), queueCommand(a), buriedCommand(a), secretsCommand(a), serviceCommand(a), synapseAdminCommand(a), selfUpdateCommand(a), bundleCommand(a), renderCommand(a), uninstallCommand(a), bridgeCommand(a), probeCommand(a), versionCommand(a),
	)
	a.names = commandNames(root)
	group(root)
	return root
}

// globalFlags adds the flags that every command has.
func globalFlags(a *app, root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", cmp.Or(variable(a.env.Environ, dirVariable), site.DefaultDir), "the installation directory; also "+dirVariable+" in the environment")
	flags.BoolVar(&a.json, "json", false, "print JSON, for scripts")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print only errors and the result")
	flags.BoolVar(&a.verbose, "verbose", false, "also print what is done: Docker calls, files, durations")
	flags.StringVar(&a.colour, "color", "auto", "when to use colours: auto, always or never; NO_COLOR is respected")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(colourWhen, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// prepare runs before every command.
func prepare(a *app, cmd *cobra.Command) error {
	if !slices.Contains(colourWhen, a.colour) {
		return &usageError{err: fmt.Errorf("--color is %q, and not one of %s", a.colour, strings.Join(colourWhen, ", "))}
	}
	if a.quiet && a.verbose {
		return &usageError{err: errors.New("--quiet and --verbose cannot be combined")}
	}
	if a.verbose {
		cmd.SetContext(trace.With(cmd.Context(), logOf(a)))
	}
	if !cmd.Hidden {
		for _, name := range unknownVariables(a.env.Environ) {
			note(a, name+" in the environment names no answer and is ignored; see: appliance help environment")
		}
	}
	return nil
}

// logOf is where --verbose writes.
func logOf(a *app) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelDebug}
	if a.json {
		return slog.New(slog.NewJSONHandler(a.env.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.env.Stderr, o))
}

func (a *app) installed() (*site.Site, error) {
	if err := errors.Join(a.absolute(), readable(a)); err != nil {
		return nil, err
	}
	return site.Open(a.dir)
}

// with opens the installation for a command.
func (a *app) with(do func(*site.Site) error) error {
	installed, err := a.installed()
	if err != nil {
		return err
	}
	defer func() { _ = installed.Close() }()
	return do(installed)
}

// A notRootError says that the files of an installation belong to root.
type notRootError struct {
	dir     string
	command string
}

func (e *notRootError) Error() string { return "the installation in " + e.dir + " belongs to root" }

// Hint says what to do.
func (e *notRootError) Hint() string { return "run it as root: " + e.command }

// readable returns a *notRootError when the caller cannot read the answers: everything
// else that would go wrong follows from it.
func readable(a *app) error {
	f, err := os.Open(site.AnswersPath(a.dir))
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return nil
	}
	words := []string{"sudo", "appliance"}
	if a.dir != site.DefaultDir {
		words = append(words, "--dir", site.Quoted(a.dir)) // sudo does not pass the environment on
	}
	for i, arg := range a.env.Args {
		if arg == "--dir" || strings.HasPrefix(arg, "--dir=") || i > 0 && a.env.Args[i-1] == "--dir" {
			continue
		}
		words = append(words, site.Quoted(arg))
	}
	return &notRootError{a.dir, strings.Join(words, " ")}
}

// examine is with for commands that must work whatever is wrong with the answers.
func examine(a *app, do func(*site.Site) error) error {
	if err := errors.Join(a.absolute(), readable(a)); err != nil {
		return err
	}
	on, err := site.Examine(a.dir)
	if err != nil {
		return err
	}
	defer func() { _ = on.Close() }()
	return do(on)
}

// reporting shows the progress of do.
func (a *app) reporting(do func(provision.Reporter) error) error {
	printer := a.printer()
	defer printer.Close()
	return do(printer)
}

// show prints a document for scripts, or calls text for people.
func (a *app) show(doc any, text func(w io.Writer)) error {
	if a.json {
		return json.NewEncoder(a.env.Stdout).Encode(doc)
	}
	var b strings.Builder
	text(&b)
	_, err := io.WriteString(a.env.Stdout, a.exact(b.String()))
	return err
}

// note prints something that is not a result of the command.
func note(a *app, text string) {
	if a.quiet {
		return
	}
	if a.json {
		_ = json.NewEncoder(a.env.Stderr).Encode(map[string]string{"note": a.exact(text)})
		return
	}
	fmt.Fprintf(a.env.Stderr, "appliance: %s\n", a.exact(text))
}

// counted is a number of things: "1 answer is", "2 answers are".
func counted(n int, one, many string) string {
	return finding.Counted(n, one, many)
}

// onTerminal reports whether there is a terminal to ask on.
func (a *app) onTerminal() bool {
	tty := a.terminal()
	if tty != nil {
		_ = tty.Close()
	}
	return tty != nil
}

// terminal opens the controlling terminal, or returns nil.
func (a *app) terminal() *os.File {
	if a.env.Stdin == nil || !isatty.IsTerminal(a.env.Stdin.Fd()) {
		return nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return tty
}

// printer returns the Printer for this terminal, log or script.
func (a *app) printer() ui.Printer {
	switch {
	case a.quiet:
		return ui.Quiet{}
	case a.json:
		return ui.NewJSON(a.env.Stderr)
	case !a.verbose && a.colour != "never" && ui.Fancy(a.env.Stderr, a.env.Environ): // log lines would break what is drawn
		return ui.NewText(a.env.Stderr)
	}
	return ui.NewPlain(a.env.Stderr)
}

// colours says whether what is written to w is coloured.
func colours(a *app, w io.Writer) ui.Colours {
	return ui.Colours(a.colour == "always" || a.colour != "never" && ui.Fancy(w, a.env.Environ))
}

// warn prints findings that are not the result.
func warn(a *app, findings []finding.Finding) {
	if !a.quiet {
		ui.Warnings(a.env.Stderr, colours(a, a.env.Stderr), a.findings(findings))
	}
}

// exactly accepts n arguments, as the command's use names them.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return wrongArguments(cmd, args)
		}
		return nil
	}
}

// atLeast accepts n arguments or more, as the command's use names them.
func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return wrongArguments(cmd, args)
		}
		return nil
	}
}

// atMost accepts no more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return wrongArguments(cmd, args)
		}
		return nil
	}
}

// wrongArguments says what a command takes and what it was given.
func wrongArguments(cmd *cobra.Command, args []string) error {
	_, takes, _ := strings.Cut(cmd.Use, " ")
	given := "nothing was given"
	if len(args) > 0 {
		given = strings.Join(args, " ") + " was given"
	}
	words := strings.Fields(cmd.CommandPath())[1:]
	return &usageError{err: fmt.Errorf("%s takes %s, and %s", strings.Join(words, " "), cmp.Or(takes, "no argument"), given)}
}

// confirm asks whether to do something that cannot be undone. No is the default.
func (a *app) confirm(question string) error { return decide(a, question, false) }

// agree asks whether to do what was asked for. Yes is the default.
func agree(a *app, question string) error { return decide(a, question, true) }

// decide asks a question whose answer must be yes.
func decide(a *app, question string, byDefault bool) error {
	tty := a.terminal()
	if tty == nil {
		return &usageError{err: fmt.Errorf("%s There is no terminal to ask on: add --yes", question)}
	}
	defer func() { _ = tty.Close() }()
	yes, err := wizard.Confirm(tty, question, byDefault)
	if err != nil || !yes {
		return interrupted(a)
	}
	return nil
}
