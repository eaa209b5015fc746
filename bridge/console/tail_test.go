package console

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func TestTheTailKeepsTheNewestLines(t *testing.T) {
	var tail Tail
	log := slog.New(tail.Handler(slog.NewTextHandler(io.Discard, nil)))
	for n := range keptLines + 50 {
		log.Info("counted", "n", n)
	}
	all := tail.After(0, slog.LevelDebug, "", 1<<20)
	if len(all) != keptLines || all[0].Details != "n=50" || all[keptLines-1].Details != fmt.Sprintf("n=%d", keptLines+49) {
		t.Errorf("%d lines, %q to %q", len(all), all[0].Details, all[len(all)-1].Details)
	}
	if few := tail.After(all[len(all)-3].Number, slog.LevelDebug, "", 10); len(few) != 2 || few[1].Number != all[len(all)-1].Number {
		t.Errorf("%+v", few)
	}
}

func TestTheTailBy(t *testing.T) {
	var tail Tail
	log := slog.New(tail.Handler(slog.NewTextHandler(io.Discard, nil))).With("side", "matrix").WithGroup("g")
	log.Debug("not written")
	log.Info("one", "rc_room", "GENERAL", "err", errors.New("broken"))
	log.Warn("two", slog.Group("in", "mx_room", "!a:example.org"), "long", strings.Repeat("A", 100_000))
	if l := tail.After(0, slog.LevelDebug, "", 10); len(l) != 2 || l[0].Details != "side=matrix g.rc_room=GENERAL g.err=broken" || len(l[1].Details) > 2*maxLine {
		t.Errorf("%+v", l)
	}
	if l := tail.After(0, slog.LevelWarn, "", 10); len(l) != 1 || l[0].Message != "two" {
		t.Errorf("by level: %+v", l)
	}
	if l := tail.After(0, slog.LevelDebug, "ENER", 10); len(l) != 1 || l[0].Message != "one" {
		t.Errorf("by room: %+v", l)
	}
	if l := tail.After(0, slog.LevelDebug, "!a:", 10); len(l) != 1 || l[0].Message != "two" {
		t.Errorf("by room: %+v", l)
	}
}

// The tail adds little to the cost of a log line.
func BenchmarkLogging(b *testing.B) {
	plain := slog.NewTextHandler(io.Discard, nil)
	var tail Tail
	for name, h := range map[string]slog.Handler{"plain": plain, "kept": tail.Handler(plain)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			log := slog.New(h).With("side", "matrix")
			for b.Loop() {
				log.Info("a room was connected", "rc_room", "GENERAL", "mx_room", "!abc:example.org")
			}
		})
	}
}
