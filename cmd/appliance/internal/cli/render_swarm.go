package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/site"
	"appliance/provision/stack"
	"appliance/provision/swarm"
)

// swarmFlags are the flags of render swarm.
type swarmFlags struct {
	answers, out, mode string
	encrypt            bool
	o                  swarm.Options
}

// endpointModes are the values of --endpoint-mode.
var endpointModes = []string{"auto", "vip", "dnsrr"}

func renderSwarmCommand(a *app) *cobra.Command {
	var f swarmFlags
	cmd := &cobra.Command{
		Use:   "swarm",
		Short: "Write the installation as a Docker Swarm stack; see docs/swarm.md",
		Long: "Writes a stack file, and the configuration and secrets that it names, into a directory. They come from\n" +
			"the answers of the installation, or of the file that --answers names, and from the same Compose file.\n" +
			"On a manager of the Swarm: cd DIR && docker stack deploy --detach=true --prune -c stack.yaml NAME",
		Example: "  appliance render swarm\n  appliance render swarm --out /root/chat --stack chat --replicas nginx=2,bridge=3\n  appliance render swarm --answers answers.yaml --encrypted=false",
		Args:    exactly(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return renderSwarm(a, cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.answers, "answers", "", "read answers from `FILE`, for a cluster without an installation on this host")
	flags.StringVarP(&f.out, "out", "o", "appliance-swarm", "write into `DIR`, which will contain secrets")
	flags.StringVar(&f.o.Stack, "stack", "", "call the stack `NAME` (default: as Compose calls the installation)")
	flags.StringToIntVar(&f.o.Replicas, "replicas", nil, "number of replicas of a service, as `SERVICE=N`: bridge, nginx, rocketchat")
	flags.StringVar(&f.o.State, "state", "/var/lib/appliance", "`DIR` on the node with the data, below which the data is")
	flags.StringVar(&f.o.Image, "image", "", "`NAME` of this program's image, as the nodes know it")
	flags.StringVar(&f.mode, "endpoint-mode", "auto", "how names resolve to replicas: vip, dnsrr for kernels without IPVS, or auto: depending on this host's kernel")
	flags.BoolVar(&f.encrypt, "encrypted", true, "encrypt what passes between the nodes; needs ESP in their kernels")
	_ = cmd.RegisterFlagCompletionFunc("endpoint-mode", cobra.FixedCompletions(endpointModes, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("replicas", cobra.FixedCompletions([]string{"bridge=", "nginx=", "rocketchat="}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

func renderSwarm(a *app, ctx context.Context, f swarmFlags) error {
	dnsrr, err := f.dnsrr()
	if err != nil {
		return err
	}
	if err := a.absolute(); err != nil {
		return err
	}
	program, err := a.env.Executable()
	if err != nil {
		return err
	}
	o := provision.SwarmOptions{Program: program, Options: f.o}
	o.DNSRR, o.Plain = dnsrr, !f.encrypt
	if o.Out, err = filepath.Abs(f.out); err != nil {
		return err
	}
	if f.answers == "" {
		return a.with(func(on *site.Site) error {
			o.Dir, o.Answers = on.Dir, on.Answers
			o.Stack = cmp.Or(o.Stack, on.Stack.Project)
			return writeSwarm(a, ctx, o)
		})
	}
	draft, err := a.draft(answerFlags{file: f.answers})
	if err != nil {
		return err
	}
	if missing := draft.Missing(); len(missing) > 0 && !draft.Bad() {
		return &missingError{missing}
	}
	if o.Answers, err = draft.Finish(); err != nil {
		return err
	}
	o.Stack = cmp.Or(o.Stack, "appliance")
	return writeSwarm(a, ctx, o)
}

// dnsrr says whether names resolve to the addresses of all replicas.
func (f swarmFlags) dnsrr() (bool, error) {
	switch f.mode {
	case "vip", "dnsrr":
		return f.mode == "dnsrr", nil
	case "auto":
		return !stack.HasIPVS(), nil
	}
	return false, &usageError{err: fmt.Errorf("--endpoint-mode is %q, and not one of %s", f.mode, strings.Join(endpointModes, ", "))}
}

// writeSwarm writes the stack and says what comes next.
func writeSwarm(a *app, ctx context.Context, o provision.SwarmOptions) error {
	out, err := provision.RenderSwarm(ctx, o)
	if err != nil {
		return err
	}
	return a.show(struct {
		swarm.Stack
		File string `json:"file"`
	}{out, filepath.Join(o.Out, swarm.StackFile)}, func(w io.Writer) { tellSwarm(w, o.Out, out) })
}

func tellSwarm(w io.Writer, dir string, out swarm.Stack) {
	fmt.Fprintf(w, "wrote %s\n\n", filepath.Join(dir, swarm.StackFile))
	for _, s := range out.Services {
		why := ""
		if s.Single != "" {
			why = "  stays single: " + s.Single
		}
		fmt.Fprintf(w, "%-14s %d  %s%s\n", s.Name, s.Replicas, s.Image, why)
	}
	for _, text := range out.Left {
		fmt.Fprintf(w, "\nleft out: %s\n", text)
	}
	fmt.Fprintf(w, "\nnext, on a manager of the Swarm:\n  docker node update --label-add %s=true NODE\n", swarm.StateLabel)
	fmt.Fprintln(w, "and on that NODE, which has the data:")
	for _, d := range out.Dirs {
		fmt.Fprintf(w, "  install -d -m 0700 -o %d -g %d %s\n", d.User, d.User, site.Quoted(d.Path))
	}
	fmt.Fprintf(w, "then:\n  cd %s && docker stack deploy --detach=true --prune -c %s %s\n", site.Quoted(dir), swarm.StackFile, out.Name)
}
