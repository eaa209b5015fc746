package bridge_test

import (
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// settingsForm returns the fields that the form of a settings page sends.
func settingsForm(text string) url.Values {
	form := url.Values{}
	if i := strings.Index(text, `action="/_appliance/settings"`); i >= 0 {
		for _, m := range hiddenField.FindAllStringSubmatch(text[i:], -1) {
			form.Set(m[1], html.UnescapeString(m[2]))
		}
	}
	return form
}

// A setting is changed in the file, which keeps its comments, and takes effect at once; an
// invalid one changes nothing and is named.
func TestSettingsAreChangedInTheConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	file := filepath.Join(w.dir, "bridge.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.write("bridge.yaml", "# A remark of the operator.\n"+string(good)+"log_level: info # loud enough\n")
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	_, text, _ := v.do(http.MethodGet, "settings", nil)
	form := settingsForm(text)
	for _, key := range []string{"log_level", "flood.accounts_per_server", "servers.deny", "presence"} {
		if !form.Has("was." + key) {
			t.Errorf("%s is not on the page", key)
		}
	}

	form.Set("set.log_level", "loud")
	form.Set("set.flood.per_person", "many")
	form.Set("do", "review")
	status, text, _ := v.do(http.MethodPost, "settings", form)
	if status != http.StatusUnprocessableEntity || !strings.Contains(text, `value="many"`) || !strings.Contains(text, "flood.per_person: must be a whole number") {
		t.Errorf("%d\n%s", status, text)
	}

	form.Set("set.log_level", "debug")
	form.Set("set.enabled", "false")
	form.Set("set.flood.per_person", "17")
	form.Set("set.servers.deny", "spam.example\r\n*.bad.example\r\n")
	status, text, _ = v.do(http.MethodPost, "settings", form)
	if status != http.StatusOK || !strings.Contains(text, "<ins>log_level: debug # loud enough</ins>") || !strings.Contains(text, "<del>log_level: info # loud enough</del>") {
		t.Fatalf("%d\n%s", status, text)
	}
	if now, _ := os.ReadFile(file); !strings.Contains(string(now), "log_level: info") {
		t.Error("the review has changed the file")
	}
	form = settingsForm(text)
	form.Set("do", "save")
	status, text, _ = v.do(http.MethodPost, "settings", form)
	if status != http.StatusOK || !strings.Contains(text, "4 settings were changed, and are in force.") {
		t.Fatalf("%d\n%s", status, text)
	}
	now, _ := os.ReadFile(file)
	for _, want := range []string{"# A remark of the operator.\n", "log_level: debug # loud enough\n", "per_person: 17", "spam.example", "*.bad.example"} {
		if !strings.Contains(string(now), want) {
			t.Errorf("%q is not in the file\n%s", want, now)
		}
	}
	mxtest.WaitFor(t, "the bridge to be paused", func() bool {
		_, text, _ := v.do(http.MethodGet, "", nil)
		return strings.Contains(text, "The bridge is paused")
	})
	if log := w.log.String(); !strings.Contains(log, "settings were changed in the console") || !strings.Contains(log, "flood.per_person") {
		t.Error("the change is not in the log")
	}
}

// When two people change different settings, the second one is shown the first one's
// change and does not undo it.
func TestTwoPeopleChangeSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	w.rc.CreateUser("eve", "user", "admin")
	front := w.front()
	ada, eve := visitor(t, front), visitor(t, front)
	forms := map[*visit]url.Values{}
	for v, name := range map[*visit]string{ada: "ada", eve: "eve"} {
		if status, text := v.signIn(name, name); status != http.StatusOK {
			t.Fatal(status, text)
		}
		_, text, _ := v.do(http.MethodGet, "settings", nil)
		forms[v] = settingsForm(text)
	}
	forms[ada].Set("set.flood.per_person", "11")
	forms[ada].Set("do", "save")
	if _, text, _ := ada.do(http.MethodPost, "settings", forms[ada]); !strings.Contains(text, "1 setting was changed, and is in force.") {
		t.Fatal(text)
	}
	forms[eve].Set("set.flood.per_server", "22")
	forms[eve].Set("do", "save")
	status, text, _ := eve.do(http.MethodPost, "settings", forms[eve])
	if status != http.StatusConflict || !strings.Contains(text, "The file has changed since you opened this page.") ||
		!strings.Contains(text, "<code>flood.per_person</code>: was <code>1200</code>, is <code>11</code>") || !strings.Contains(text, "per_server: 22</ins>") {
		t.Fatalf("%d\n%s", status, text)
	}
	file := filepath.Join(w.dir, "bridge.yaml")
	if now, _ := os.ReadFile(file); strings.Contains(string(now), "per_server: 22") {
		t.Error("saved all the same")
	}
	form := settingsForm(text)
	form.Set("do", "save")
	if _, text, _ := eve.do(http.MethodPost, "settings", form); !strings.Contains(text, "1 setting was changed, and is in force.") {
		t.Error(text)
	}
	if now, _ := os.ReadFile(file); !strings.Contains(string(now), "per_server: 22") || !strings.Contains(string(now), "per_person: 11") {
		t.Errorf("%s", now)
	}
}

// If the file cannot be written or used, the page says so and changes nothing.
func TestSettingsThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	_, text, _ := v.do(http.MethodGet, "settings", nil)
	form := settingsForm(text)
	form.Set("set.typing", "false")
	form.Set("do", "save")
	file := filepath.Join(w.dir, "bridge.yaml")
	good, _ := os.ReadFile(file)
	w.write("bridge.yaml", string(good)+"colour: red\n")
	status, text, _ := v.do(http.MethodPost, "settings", form)
	if status != http.StatusConflict || !strings.Contains(text, "colour: unknown key") {
		t.Errorf("%d\n%s", status, text)
	}
	if now, _ := os.ReadFile(file); string(now) != string(good)+"colour: red\n" {
		t.Errorf("%s", now)
	}
	form.Set("token", "forged")
	if status, _, _ := v.do(http.MethodPost, "settings", form); status != http.StatusForbidden {
		t.Error("a forged form", status)
	}
}
