package wizard_test

import (
	"os"
	"strings"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"
	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision/answers"
)

// sit runs ask on a terminal on which play types the answers.
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
	_, _ = c.ExpectEOF() // the console answers terminal queries only while it expects
	err = <-done
	_ = c.Close()
	return err
}

// play answers questions as they come.
func play(t *testing.T, c *expect.Console, steps ...[2]string) {
	t.Helper()
	for _, step := range steps {
		if _, err := c.ExpectString(step[0]); err != nil {
			t.Errorf("%s: %v", step[0], err)
			_ = c.Tty().Close()
			return
		}
		_, _ = c.Send(step[1])
	}
}

const (
	enter     = "\r"
	down      = "\x1b[B"
	backspace = "\x7f"
)

func TestTheWizardKeepsWhatWasTypedAndAsksAgain(t *testing.T) {
	draft := answers.NewDraft()
	err := sit(t, func(tty *os.File) error { return wizard.Ask(tty, draft, func() {}) }, func(c *expect.Console) {
		play(t, c,
			[2]string{"Which name will people open", "chat example.org" + enter},
			[2]string{"is not a DNS name", ""},
			[2]string{"chat example.org", strings.Repeat(backspace, len(" example.org")) + ".example.org" + enter}, // as it stands there
			[2]string{"Which name should Matrix addresses end in", "example.org" + enter},
			[2]string{"certificate authority?", enter},
			[2]string{"Which Matrix homeserver", enter},
			[2]string{"administrator's username", enter},
			[2]string{"administrator's e-mail", "ops@example.org" + enter},
			[2]string{"Where should certificates come from", "internal" + enter},
			[2]string{"Is this right?", enter})
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, draft, "domain=chat.example.org", "server_name=example.org", "admin_email=ops@example.org", "tls=internal")
}

// same compares a draft with answers that are set directly.
func same(t *testing.T, draft *answers.Draft, sets ...string) {
	t.Helper()
	a, err := draft.Finish()
	if err != nil {
		t.Fatal(err)
	}
	want := answers.NewDraft()
	for _, set := range sets {
		want.Assign(set)
	}
	if b, _ := want.Finish(); a != b {
		t.Errorf("typed %+v\nwritten %+v", a, b)
	}
}

func TestWhatIsMeantIsTakenAndShown(t *testing.T) {
	draft := answers.NewDraft()
	err := sit(t, func(tty *os.File) error { return wizard.Ask(tty, draft, func() {}) }, func(c *expect.Console) {
		play(t, c,
			[2]string{"Which name will people open", " https://Chat.M\u00fcnchen.Example./ " + enter},
			[2]string{"xn--mnchen-3ya.example (", ""},
			[2]string{"Which name should Matrix addresses end in", "EXAMPLE.org." + enter},
			[2]string{"certificate authority?", enter},
			[2]string{"Which Matrix homeserver", enter},
			[2]string{"administrator's username", "Chief" + enter},
			[2]string{"administrator's e-mail", enter},
			[2]string{"Where should certificates come from", "acme" + enter},
			[2]string{"Is this right?", enter})
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, draft, "domain=chat.xn--mnchen-3ya.example", "server_name=example.org", "admin_username=chief")
}

// An answer that requires others leads to their questions, and every answer can be changed
// before anything happens; what is derived from it changes with it.
func TestEveryAnswerThatIsNeededIsAskedAndCanBeChanged(t *testing.T) {
	draft := answers.NewDraft()
	draft.Assign("admin_username=chief") // set elsewhere: not asked
	kept := 0
	err := sit(t, func(tty *os.File) error { return wizard.Ask(tty, draft, func() { kept++ }) }, func(c *expect.Console) {
		play(t, c,
			[2]string{"Which name will people open", "chat.example.org" + enter},
			[2]string{"Which name should Matrix addresses end in", enter},
			[2]string{"certificate authority?", enter},
			[2]string{"Which Matrix homeserver", enter},
			[2]string{"administrator's e-mail", enter},
			[2]string{"Where should certificates come from", "files" + enter},
			[2]string{"Which file holds the certificate", "/etc/ssl/chat.pem" + enter},
			[2]string{"Which file holds the private key", "/etc/ssl/chat.key" + enter},
			[2]string{"Is this right?", down + enter},
			[2]string{"Which name will people open", "talk.example.org" + enter},
			[2]string{"Is this right?", enter})
	})
	if err != nil || kept != 9 {
		t.Fatal(kept, err)
	}
	same(t, draft, "domain=talk.example.org", "admin_username=chief", "tls=files", "tls_cert_file=/etc/ssl/chat.pem", "tls_key_file=/etc/ssl/chat.key")
}

func TestInterruptingTheWizardIsAnError(t *testing.T) {
	draft := answers.NewDraft()
	err := sit(t, func(tty *os.File) error { return wizard.Ask(tty, draft, func() {}) }, func(c *expect.Console) {
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

func TestAQuestionHasADefault(t *testing.T) {
	for _, c := range []struct {
		typed           string
		byDefault, want bool
	}{{"", false, false}, {"y", false, true}, {"n", false, false}, {"", true, true}, {"n", true, false}} {
		var got bool
		err := sit(t, func(tty *os.File) (err error) {
			got, err = wizard.Confirm(tty, "Remove all?", c.byDefault)
			return err
		}, func(console *expect.Console) { play(t, console, [2]string{"Remove all?", c.typed + enter}) })
		if err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
