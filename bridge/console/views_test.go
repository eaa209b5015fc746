package console

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// An administrator whose request is refused reads whether anything was changed.
func TestARefusalSaysWhatWasChanged(t *testing.T) {
	v, err := newViews(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for want, refusal := range map[string]*RefusedError{
		"Nothing was changed. Sorry: this person is not linked.":     {Text: "this person is not linked"},
		`role="alert">Sorry: the change is saved, but not in force.`: {Text: "the change is saved, but not in force", Saved: true},
	} {
		w := httptest.NewRecorder()
		v.refused(w, httptest.NewRequest("POST", Path+"people", nil), session{}, refusal)
		if page := strings.Join(strings.Fields(w.Body.String()), " "); w.Code != 409 || !strings.Contains(page, want) {
			t.Errorf("%d, without %q:\n%s", w.Code, want, page)
		}
	}
}
