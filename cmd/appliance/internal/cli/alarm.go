package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"appliance/provision/alarm"
	"appliance/provision/checkup"
	"appliance/provision/site"
)

func alarmCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alarm",
		Short: "Tell the operator that something is wrong",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(alarmTestCommand(a))
	return cmd
}

// An alarmResult is the result of sending a test message by one way.
type alarmResult struct {
	Way   string `json:"way"`
	Sent  bool   `json:"sent"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// An alarmTestError says that a test message could not be sent by every way.
type alarmTestError struct {
	failed, all int
	advice      []string
}

func (e *alarmTestError) Error() string {
	return fmt.Sprintf("%d of %s failed", e.failed, counted(e.all, "way", "ways"))
}

func (e *alarmTestError) Hint() string {
	if len(e.advice) == 0 {
		return "correct the answers alarms and alarm_*: appliance config set KEY=VALUE"
	}
	return strings.Join(e.advice, "; ") + "; then try: appliance alarm test"
}

func alarmTestCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "Send a test message in every way listed in the answer alarms",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				results := alarmResults(on.Answers.AlarmWays(), checkup.AlarmTest(cmd.Context(), on))
				failed, advice := 0, []string(nil)
				for _, r := range results {
					if !r.Sent {
						failed++
					}
					if r.Hint != "" {
						advice = append(advice, r.Way+": "+r.Hint)
					}
				}
				err := a.show(results, func(w io.Writer) {
					for _, r := range results {
						fmt.Fprintf(w, "%-12s%s\n", r.Way, map[bool]string{true: "sent", false: "failed: " + r.Error}[r.Sent])
					}
				})
				if err == nil && failed > 0 {
					err = &alarmTestError{failed, len(results), advice}
				}
				return err
			})
		},
	}
}

func alarmResults(ways []string, errs []error) []alarmResult {
	out := make([]alarmResult, len(ways))
	for n, way := range ways {
		out[n] = alarmResult{Way: way, Sent: errs[n] == nil}
		if errs[n] != nil {
			reason := errs[n]
			if failure, ok := errors.AsType[*alarm.Failure](reason); ok {
				out[n].Hint = failure.Advice
			}
			if inner := errors.Unwrap(reason); inner != nil { // the way is named already
				reason = inner
			}
			out[n].Error = strings.ReplaceAll(reason.Error(), "\n", "; ")
		}
	}
	return out
}
