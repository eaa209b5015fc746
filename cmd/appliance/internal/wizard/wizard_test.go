package wizard_test

import (
	"os"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"
	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision/answers"
)

// sit runs ask at a terminal at which play types the answers.
func sit(t *testing.T, ask func(tty *os.File) error, play func(c *expect.Console)) error {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	screen := vt10x.New(vt10x.WithWriter(slave))
	c, err := expect.NewConsole(expect.WithStdin(master), expect.WithStdout(screen), expect.WithCloser(master, slave), expect.WithDefaultTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- ask(c.Tty())
		_ = c.Tty().Close()
	}()
	play(c)
	_, _ = c.ExpectEOF() // the console answers the terminal's questions only while it expects
	err = <-done
	_ = c.Close()
	return err
}

func TestTheWizardAsksAgainInsteadOfAcceptingAnAddress(t *testing.T) {
	draft := answers.NewDraft()
	err := sit(t, func(tty *os.File) error { return wizard.Ask(tty, draft) }, func(c *expect.Console) {
		step := func(question, answer string) {
			t.Helper()
			if _, err := c.ExpectString(question); err != nil {
				t.Errorf("%s: %v", question, err)
				_ = c.Tty().Close()
			}
			_, _ = c.SendLine(answer)
		}
		step("Which name will people open", "https://chat.example.org")
		step("must be a bare name, without https://", "chat.example.org")
		step("Which name should Matrix addresses end in", "example.org")
		step("certificate authority?", "")
		step("Which Matrix homeserver", "")
		step("administrator's username", "")
		step("administrator's e-mail", "ops@example.org")
		step("Where should certificates come from", "internal")
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := draft.Finish()
	if err != nil {
		t.Fatal(err)
	}
	want := answers.NewDraft()
	for _, set := range []string{"domain=chat.example.org", "server_name=example.org", "admin_email=ops@example.org", "tls=internal"} {
		want.Assign(set)
	}
	if b, _ := want.Finish(); a != b {
		t.Errorf("typed %+v\nwritten %+v", a, b)
	}
}

func TestInterruptingTheWizardIsAnError(t *testing.T) {
	draft := answers.NewDraft()
	err := sit(t, func(tty *os.File) error { return wizard.Ask(tty, draft) }, func(c *expect.Console) {
		_, _ = c.ExpectString("Which name will people open")
		for t.Context().Err() == nil { // a key that comes before the terminal is set up is lost
			_, _ = c.Send("\x03")
			if _, err := c.Expect(expect.EOF, expect.PTSClosed, expect.WithTimeout(50*time.Millisecond)); err == nil {
				return
			}
		}
	})
	if err == nil || draft.Said("domain") {
		t.Errorf("%v", err)
	}
}

func TestNoIsTheDefaultOfAQuestion(t *testing.T) {
	for typed, want := range map[string]bool{"": false, "y": true, "n": false} {
		var got bool
		err := sit(t, func(tty *os.File) (err error) { got, err = wizard.Confirm(tty, "Remove all?"); return err }, func(c *expect.Console) {
			_, _ = c.ExpectString("Remove all?")
			_, _ = c.SendLine(typed)
		})
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", typed, got, err)
		}
	}
}
