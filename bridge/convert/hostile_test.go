package convert_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appliance/bridge/convert"
	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat"
)

// sized returns the size of a hostile text: n in make test, otherwise a sixteenth of it.
func sized(n int) int {
	return mustrun.Sized(n, n/16)
}

// cost returns the processor time that f takes, which does not grow on a busy machine.
// f must not start goroutines.
func cost(t *testing.T, f func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	f()
	return used() - before
}

// hostile holds the inputs that cost a careless reader the most. f makes about n
// bytes of one.
var hostile = map[string]func(n int) string{
	"nested tags":        func(n int) string { return strings.Repeat("<b>", n/3) + "x" },
	"nested quotes":      func(n int) string { return strings.Repeat("<blockquote>", n/12) + "x" },
	"nested lists":       func(n int) string { return strings.Repeat("<ul><li>x", n/9) },
	"end tags":           func(n int) string { return strings.Repeat("<b></i>", n/7) },
	"paragraphs":         func(n int) string { return strings.Repeat("<p>x", n/4) },
	"breaks":             func(n int) string { return strings.Repeat("<br>", n/4) + "x" },
	"attributes":         func(n int) string { return "<a " + strings.Repeat("x=y ", n/4) + ">x</a>" },
	"one long attribute": func(n int) string { return `<a href="https://example.org/` + strings.Repeat("x", n) + `">x</a>` },
	"tables":             func(n int) string { return strings.Repeat("<table><tr><td>x", n/16) },
	"cells":              func(n int) string { return "<table><tr>" + strings.Repeat("<td>x", n/5) },
	"links":              func(n int) string { return strings.Repeat(`<a href="https://x.org">y</a>`, n/29) },
	"open links":         func(n int) string { return strings.Repeat(`<a href="https://x.org">y`, n/25) },
	"entities":           func(n int) string { return strings.Repeat("&amp;&lt;", n/9) },
	"comments":           func(n int) string { return strings.Repeat("<!-- x", n/6) },
	"angles":             func(n int) string { return strings.Repeat("<", n) },
	"emphasis":           func(n int) string { return strings.Repeat("<b>a</b><i>b</i>", n/16) },
	"stars":              func(n int) string { return strings.Repeat("*", n) },
	"open stars":         func(n int) string { return strings.Repeat("*a ", n/3) },
	"alternating marks":  func(n int) string { return strings.Repeat("*a_b~c|| ", n/9) },
	"underscores":        func(n int) string { return strings.Repeat("a_", n/2) },
	"brackets":           func(n int) string { return strings.Repeat("[", n) },
	"open addresses":     func(n int) string { return strings.Repeat("[a](", n/4) },
	"angle links":        func(n int) string { return strings.Repeat("<a|b", n/4) },
	"ticks":              func(n int) string { return strings.Repeat("` ", n/2) },
	"fences":             func(n int) string { return strings.Repeat("```\n", n/4) },
	"quotes":             func(n int) string { return strings.Repeat(">", n) },
	"quoted lines":       func(n int) string { return strings.Repeat(strings.Repeat(">", 30)+"x\n", n/32) },
	"list lines":         func(n int) string { return strings.Repeat("- a\n  - b\n", n/10) },
	"deeper list lines": func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			b.WriteString(strings.Repeat(" ", 2*i%200) + "- a\n")
		}
		return b.String()
	},
	"formulas":     func(n int) string { return strings.Repeat(`\(`, n/2) },
	"math blocks":  func(n int) string { return strings.Repeat("\\[\n", n/3) },
	"spoilers":     func(n int) string { return strings.Repeat("||\n", n/3) },
	"tables of md": func(n int) string { return strings.Repeat("| a |\n|---|\n", n/12) },
	"dots":         func(n int) string { return strings.Repeat("a.", n/2) },
	"at signs":     func(n int) string { return strings.Repeat("@a:", n/3) },
	"emoji":        func(n int) string { return strings.Repeat(":a", n/2) },
	"no blanks":    func(n int) string { return strings.Repeat("x", n) },
	"invisible":    func(n int) string { return strings.Repeat("\u200b", n/3) + "x" },
	"overrides":    func(n int) string { return strings.Repeat("\u202e", n/3) + "x" },
	"zalgo":        func(n int) string { return "x" + strings.Repeat("\u0301", n/2) },
	"mx-reply":     func(n int) string { return strings.Repeat("<mx-reply>", n/10) + "x" },
}

// Ten megabytes of tags (full size), far more than an event can have, take seconds and
// little memory, and no output is too long for the other side.
func TestHostileInputTakesLinearTimeAndBoundedMemory(t *testing.T) {
	ways := map[string]struct {
		size int
		run  func(t *testing.T, s string)
	}{
		"html": {10 << 20, func(t *testing.T, s string) { checkParts(t, convert.ToRocketChat(html(s), known)) }},
		"text": {1 << 20, func(t *testing.T, s string) { checkParts(t, convert.ToRocketChat(text(s), known)) }},
		"markdown": {64 << 10, func(t *testing.T, s string) {
			for _, c := range convert.ToMatrix(rocketchat.Message{Text: s}, known) {
				if n := size(c); n > 64<<10 {
					t.Errorf("an event of %d bytes", n)
				}
			}
		}},
	}
	for name, input := range hostile {
		for way, w := range ways {
			t.Run(name+" as "+way, func(t *testing.T) {
				s := input(sized(w.size))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				took := cost(t, func() { w.run(t, s) })
				runtime.ReadMemStats(&after)
				if took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
					t.Errorf("used %d MB", used>>20)
				}
			})
		}
	}
}

func checkParts(t *testing.T, parts []string) {
	for _, p := range parts {
		if n := utf16Len(p); n > 5000 {
			t.Errorf("a part of %d units", n)
		}
	}
}

const typical = "Hello @ada, the *build* of `main` is _green_ again, see [the log](https://ci.example.org/1/2) :tada:\n- one\n- two **points**\n> quoted\nthanks!"

func BenchmarkToMatrix(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		convert.ToMatrix(rocketchat.Message{Text: typical}, known)
	}
}

func BenchmarkToMatrixPlain(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		convert.ToMatrix(rocketchat.Message{Text: "just a short line of text"}, known)
	}
}

func BenchmarkToRocketChat(b *testing.B) {
	c := convert.ToMatrix(rocketchat.Message{Text: typical}, known)[0]
	e := convert.Event{Content: convert.EventContent{MsgType: c.MsgType, Body: c.Body, FormattedBody: c.FormattedBody, Mentions: c.Mentions}}
	b.ReportAllocs()
	for b.Loop() {
		convert.ToRocketChat(e, known)
	}
}

func BenchmarkToRocketChatPlain(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		convert.ToRocketChat(text("just a short line of text"), known)
	}
}

func BenchmarkToRocketChatHostile(b *testing.B) {
	s := strings.Repeat("<b><i>*a_b</i></b>", 60<<10/18)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		convert.ToRocketChat(html(s), known)
	}
}

// Custom emoji make HTML many times as long as what was typed.
func TestManyEmojiFitIntoEvents(t *testing.T) {
	contents := convert.ToMatrix(rocketchat.Message{Text: strings.Repeat(":p: ", 5000)}, known)
	shown := 0
	for _, c := range contents {
		shown += strings.Count(c.Body, ":p:")
		if n := size(c); n > 64<<10 {
			t.Errorf("an event of %d bytes", n)
		}
		checkHTML(t, c.FormattedBody)
	}
	if shown != 5000 {
		t.Errorf("%d emoji in %d events", shown, len(contents))
	}
}

// A text designed to be hard to write for Rocket.Chat takes only a moment: one of 32
// kB once took half a minute.
func TestHostileTextIsWrittenInAMoment(t *testing.T) {
	versions := []string{"8.6.0"}
	if mustrun.Full {
		versions = []string{"8.0.0", "8.6.0", "8.8.0"}
	}
	for _, unit := range []string{"*_", "_*", "*a_b ", ":)", "_", "[", "]", "~", "|", "](", "<http://a|", "@", "`", "**a "} {
		text := strings.Repeat(unit, sized(32<<10)/len(unit))
		for _, version := range versions {
			for _, html := range []string{"", "<em>" + strings.ReplaceAll(text, "<", "&lt;") + "</em>"} {
				e := convert.Event{Type: "m.room.message", ID: "$e", Room: "!r:x", Sender: "@a:x"}
				e.Content.MsgType, e.Content.Body, e.Content.FormattedBody = "m.text", text, html
				var parts []string
				took := cost(t, func() {
					parts = convert.ToRocketChat(e, convert.Lookup{Limit: 5000, Dialect: convert.DialectFor(version)})
				})
				if took > 5*time.Second {
					t.Errorf("%q in %s took %v", unit, version, took)
				}
				if len(parts) == 0 {
					t.Errorf("%q in %s is lost", unit, version)
				}
			}
		}
	}
}
