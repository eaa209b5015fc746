package checkup

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/site"
)

// hooked returns an installation whose alarms go to a webhook; got counts them.
func hooked(t *testing.T) (s *site.Site, got *atomic.Int32, last *atomic.Value) {
	t.Helper()
	got, last = new(atomic.Int32), new(atomic.Value)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		_ = r.Write(&b)
		got.Add(1)
		last.Store(b.String())
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	a := answers.NewDraft().Answers
	a.Domain, a.ServerName, a.Alarms, a.AlarmWebhook, a.AlarmWebhookFile = "chat.example.test", "chat.example.test", "webhook", "json", filepath.Join(dir, "hook")
	if err := os.WriteFile(a.AlarmWebhookFile, []byte(srv.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return &site.Site{Dir: dir, Answers: a}, got, last
}

func bad(check string) []finding.Finding {
	f := finding.Warning("it is ill", "because", "do something")
	f.Check = check
	return []finding.Finding{f}
}

// What comes and goes every hour for a day is told a few times, not 24 times,
// and the last message of a day says that it is the last.
func TestAnAlarmThatComesAndGoesIsLimited(t *testing.T) {
	s, got, last := hooked(t)
	begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for hour := range 24 {
		findings := bad("homeserver")
		if hour%2 == 1 {
			findings = nil
		}
		if _, err := alarmAt(t.Context(), s, findings, begin.Add(time.Duration(hour)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if text, _ := last.Load().(string); got.Load() == mostAlarms && !strings.Contains(text, "The next one comes after 2026-01-03 03:00 UTC") {
			t.Errorf("the last message of the day says %q", text)
		}
	}
	if got.Load() != mostAlarms {
		t.Errorf("%d alarms in a day, want %d", got.Load(), mostAlarms)
	}
	// The next day an alarm is sent again.
	if sent, err := alarmAt(t.Context(), s, bad("disk"), begin.Add(25*time.Hour)); err != nil || !sent {
		t.Errorf("sent %v: %v", sent, err)
	}
}

// A problem that an earlier release reported is not reported again, and a clock that was
// wrong does not silence the alarm.
func TestTheMemoryOfAnEarlierReleaseIsRead(t *testing.T) {
	s, got, _ := hooked(t)
	write := func(text string) {
		if err := os.WriteFile(s.Path(site.AlarmFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	write(`[{"check":"disk","severity":"warn"}]`)
	if sent, err := alarmAt(t.Context(), s, bad("disk"), now); err != nil || sent {
		t.Errorf("sent %v: %v", sent, err)
	}
	var times []string
	for range mostAlarms {
		times = append(times, fmt.Sprintf("%q", now.Add(1000*time.Hour).Format(time.RFC3339)))
	}
	write(`{"notices":[],"sent":[` + strings.Join(times, ",") + `]}`)
	if sent, err := alarmAt(t.Context(), s, bad("disk"), now); err != nil || !sent || got.Load() != 1 {
		t.Errorf("sent %v: %v", sent, err)
	}
}
