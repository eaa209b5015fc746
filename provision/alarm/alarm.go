// Package alarm sends short messages to an operator in ways that do not depend on each other: a
// webhook, mail, and whatever else its caller supplies. It knows nothing about installations.
package alarm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// limit is how long one way may take, whatever the other side does. Tests shorten it.
var limit = 20 * time.Second

// A Message is what an operator is told.
type Message struct {
	Server   string    `json:"server"`   // the name of the server that it is about
	Severity string    `json:"severity"` // ok, warn or fail
	Title    string    `json:"title"`    // one line
	Text     string    `json:"text"`     // plain text, possibly of several lines
	Details  any       `json:"details,omitempty"`
	Time     time.Time `json:"time"`
}

// A Way carries messages to an operator. Send returns within the deadline of its context,
// and its errors contain no secrets.
type Way interface {
	Name() string
	Send(ctx context.Context, m Message) error
}

// A Failure says why one way did not deliver a message.
type Failure struct {
	Way    string
	Err    error
	Advice string // what to correct, where that is known
}

func (f *Failure) Error() string { return "by " + f.Way + ": " + f.Err.Error() }

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Err }

// An UnsentError says that no way delivered a message.
type UnsentError struct{ Failures []error }

func (e *UnsentError) Error() string {
	return "the alarm could not be sent " + strings.ReplaceAll(errors.Join(e.Failures...).Error(), "\n", "; ")
}

// Hint says what to do.
func (e *UnsentError) Hint() string {
	return "correct the answers alarms and alarm_*, then try: appliance alarm test"
}

// Send sends a message by the first way that works and returns that way's name. The
// message lists the ways that failed before.
func Send(ctx context.Context, ways []Way, m Message) (by string, err error) {
	var failed []error
	text := m.Text
	for _, way := range ways {
		m.Text = text
		for _, f := range failed {
			m.Text += "\n\nNot sent " + f.Error()
		}
		if err := Try(ctx, way, m); err != nil {
			failed = append(failed, err)
			continue
		}
		return way.Name(), nil
	}
	return "", &UnsentError{failed}
}

// Try sends a message by one way, within a time limit.
func Try(ctx context.Context, way Way, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := way.Send(ctx, m)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", limit)
	}
	if err != nil {
		f := &Failure{Way: way.Name(), Err: err}
		if knows, ok := way.(interface{ advice(err error) string }); ok {
			f.Advice = knows.advice(err)
		}
		return f
	}
	return nil
}

// secretLines reads up to two lines of a file that only its owner may read.
func secretLines(file string) (first, second string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", "", fmt.Errorf("%s can be read by others: chmod 600 %s", file, file)
	}
	if info.Size() > 16<<10 {
		return "", "", fmt.Errorf("%s is too large", file)
	}
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return "", "", err
	}
	lines := strings.SplitN(string(data)+"\n\n", "\n", 3)
	if first = strings.TrimSpace(lines[0]); first == "" {
		return "", "", fmt.Errorf("the first line of %s is empty", file)
	}
	return first, strings.TrimSpace(lines[1]), nil
}

// cut shortens a text to a number of bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("...")], "") + "..."
}
