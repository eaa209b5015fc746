package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"appliance/provision/render"
	"appliance/provision/site"
	"appliance/provision/support"
)

func logsCommand(a *app) *cobra.Command {
	var follow bool
	var tail, since string
	cmd := &cobra.Command{
		Use:     "logs [service...]",
		Aliases: []string{"log"},
		Short:   "Show the logs of the services, with secrets masked",
		Example: "  appliance logs --follow\n  appliance logs bridge homeserver --since 2h",
		RunE: func(cmd *cobra.Command, args []string) error {
			return examine(a, func(on *site.Site) error {
				if err := knownServices(cmd, on, args); err != nil {
					return err
				}
				out := a.env.Stdout
				if a.json {
					lines := &jsonLines{enc: json.NewEncoder(out)}
					defer lines.flush()
					out = lines
				}
				return support.Logs(cmd.Context(), on, out, a.env.Stderr, follow, tail, since, args...)
			})
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
			_ = a.with(func(on *site.Site) error {
				names = render.Services(on.Answers)
				return nil
			})
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow the logs until interrupted")
	cmd.Flags().StringVar(&since, "since", "", "only lines after `WHEN`: a time, or a duration such as 2h")
	cmd.Flags().StringVarP(&tail, "tail", "n", "100", "number of `lines` per service to start with, or all")
	return cmd
}

// knownServices refuses names of services that neither exist nor belong to the answers.
func knownServices(cmd *cobra.Command, on *site.Site, args []string) error {
	if len(args) == 0 {
		return nil
	}
	running, err := on.Stack.Services(cmd.Context())
	if err != nil {
		return err
	}
	known := slices.Concat(render.Services(on.Answers), slices.Collect(maps.Keys(running)))
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range args {
		if !slices.Contains(known, name) {
			return &usageError{err: fmt.Errorf("there is no service %q", name), hint: "the services are: " + strings.Join(known, ", ")}
		}
	}
	return nil
}

// jsonLines writes each line of a log, as Compose prints it, as an object.
type jsonLines struct {
	enc *json.Encoder
	buf []byte
}

type logLine struct {
	Container string `json:"container,omitempty"`
	Line      string `json:"line"`
}

// Write implements io.Writer.
func (l *jsonLines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	for {
		line, rest, ok := bytes.Cut(l.buf, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if err := l.put(string(line)); err != nil {
			return 0, err
		}
		l.buf = append(l.buf[:0], rest...)
	}
}

func (l *jsonLines) put(line string) error {
	container, text, ok := strings.Cut(line, " | ")
	if !ok {
		container, text = "", line
	}
	return l.enc.Encode(logLine{strings.TrimSpace(container), strings.TrimRight(text, "\r")})
}

// flush writes what is left, which does not end with a line break.
func (l *jsonLines) flush() {
	if len(l.buf) > 0 {
		_ = l.put(string(l.buf))
	}
	l.buf = nil
}

var _ io.Writer = (*jsonLines)(nil)
