package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A Setting is a live key of bridge.yaml.
type Setting struct {
	Name, Help string
	Value      string   // as people type it, with list items on separate lines
	Choices    []string // all allowed values, or none if it is free
	List       bool
	Number     bool
}

// A SettingsFile is bridge.yaml as it is on disk.
type SettingsFile struct {
	Name     string // of the file
	Hash     string // identifies this content
	Settings []Setting
	// Problem is why the file cannot be used, and ReadOnly why it cannot be changed here.
	Problem, ReadOnly string
}

// A SettingProblem is why a value cannot be used. Key is "" if the problem is not with one value.
type SettingProblem struct{ Key, Reason string }

// An InvalidSettingsError lists the problems of values.
type InvalidSettingsError struct{ Problems []SettingProblem }

func (e *InvalidSettingsError) Error() string {
	var out []string
	for _, p := range e.Problems {
		out = append(out, strings.TrimPrefix(p.Key+": "+p.Reason, ": "))
	}
	return strings.Join(out, "; ")
}

// ErrSettingsChanged is wrapped when the file is no longer the one shown.
var ErrSettingsChanged = errors.New("the file has changed")

// Settings reads and changes the live keys of bridge.yaml.
type Settings interface {
	Settings(ctx context.Context) (SettingsFile, error)
	// Propose returns the file as it is and as it would be with other values. If a value
	// cannot be used, the error is an *InvalidSettingsError.
	Propose(ctx context.Context, values map[string]string) (was, now []byte, err error)
	// Save changes the file that has a hash, and puts it in force. Errors wrap
	// ErrSettingsChanged if the file has a different hash by now.
	Save(ctx context.Context, hash string, values map[string]string) (changed []string, err error)
}

// field is a setting in the form.
type field struct {
	Setting
	Typed   string // current content of the form field
	Shown   string // its content when the form was opened
	Problem string
}

// settingsView is the settings page.
type settingsView struct {
	SettingsFile
	Fields []field
	// Shown in a review.
	Diff     []diffLine
	Review   bool
	Conflict bool     // the file has changed since the form was opened
	Theirs   []change // changes made to it by others
	Sending  []field  // fields that the form must send again
}

// change is a setting whose value has changed.
type change struct{ Name, Was, Now string }

// settingsPage is the settings page.
type settingsPage struct {
	*views
	file Settings
}

func (p *settingsPage) routes(r routes) {
	r.get("settings", p.form)
	r.post("settings", p.change)
}

func (p *settingsPage) form(w http.ResponseWriter, r *http.Request, s session) {
	file, err := p.file.Settings(r.Context())
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	v := settingsView{SettingsFile: file}
	for _, one := range file.Settings {
		v.Fields = append(v.Fields, field{Setting: one, Typed: one.Value, Shown: one.Value})
	}
	p.showForm(w, s, http.StatusOK, v, notice(r), "")
}

func (p *settingsPage) showForm(w http.ResponseWriter, s session, status int, v settingsView, done, problem string) {
	p.show(w, status, "settings.html", page{Title: "Settings", Here: "settings", User: s.username, Token: s.token, Notice: done, Problem: problem, Still: true, Body: v})
}

// change serves the form: first it shows what would change in the file, then it makes the
// change.
func (p *settingsPage) change(w http.ResponseWriter, r *http.Request, s session) {
	file, err := p.file.Settings(r.Context())
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	v, values := typed(file, r)
	switch {
	case file.Problem != "" || file.ReadOnly != "":
		p.showForm(w, s, http.StatusConflict, v, "", "Nothing was changed.")
		return
	case r.PostForm.Get("do") == "edit":
		p.showForm(w, s, http.StatusOK, v, "", "")
		return
	}
	was, now, err := p.file.Propose(r.Context(), values)
	if invalid, ok := errors.AsType[*InvalidSettingsError](err); ok {
		p.invalid(w, s, v, invalid)
		return
	}
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	v.Conflict = r.PostForm.Get("file") != file.Hash
	if r.PostForm.Get("do") == "save" && !v.Conflict {
		changed, err := p.file.Save(r.Context(), file.Hash, values)
		if err == nil {
			p.log.Info("settings were changed in the console", "user", s.userID, "changed", changed)
			http.Redirect(w, r, Path+"settings?done=settings&n="+strconv.Itoa(len(changed)), http.StatusSeeOther)
			return
		}
		p.log.Warn("settings could not be changed in the console", "user", s.userID, "err", err)
		if !errors.Is(err, ErrSettingsChanged) {
			p.failed(w, r, s, err)
			return
		}
		v.Conflict = true
	}
	p.review(w, s, v, was, now)
}

// review shows what would change, and what others have changed in the meantime.
func (p *settingsPage) review(w http.ResponseWriter, s session, v settingsView, was, now []byte) {
	v.Review, v.Diff = true, diff(was, now)
	if v.Conflict {
		p.showForm(w, s, http.StatusConflict, v, "", "The file has changed since you opened this page. Nothing was changed yet: look at what others have changed, and save again if your change is still right.")
		return
	}
	if len(v.Diff) == 0 {
		v.Review = false
		p.showForm(w, s, http.StatusOK, v, "Nothing differs from the file.", "")
		return
	}
	p.showForm(w, s, http.StatusOK, v, "", "")
}

// invalid shows the form as it was typed, and its problems.
func (p *settingsPage) invalid(w http.ResponseWriter, s session, v settingsView, invalid *InvalidSettingsError) {
	text := "Nothing was changed."
	for _, p := range invalid.Problems {
		text += " " + cut(strings.TrimPrefix(p.Key+": "+p.Reason, ": "), 300) + "."
		for i := range v.Fields {
			if v.Fields[i].Name == p.Key {
				v.Fields[i].Problem = p.Reason
			}
		}
	}
	p.showForm(w, s, http.StatusUnprocessableEntity, v, "", text)
}

// typed reads the form: only fields that differ from their content when the form was
// opened are changed; all others follow the file.
func typed(file SettingsFile, r *http.Request) (v settingsView, values map[string]string) {
	v, values = settingsView{SettingsFile: file}, map[string]string{}
	for _, one := range file.Settings {
		f := field{Setting: one, Typed: one.Value, Shown: one.Value}
		if r.PostForm.Has("was." + one.Name) {
			f.Shown = plainLines(r.PostForm.Get("was." + one.Name))
			if f.Shown != one.Value {
				v.Theirs = append(v.Theirs, change{one.Name, f.Shown, one.Value})
			}
		}
		if now := plainLines(r.PostForm.Get("set." + one.Name)); r.PostForm.Has("set."+one.Name) && now != f.Shown {
			f.Typed, values[one.Name] = now, now
			v.Sending = append(v.Sending, f)
		}
		f.Shown = one.Value
		v.Fields = append(v.Fields, f)
	}
	return v, values
}

// plainLines returns a text as it was before a form sent it.
func plainLines(text string) string {
	return strings.Trim(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
}

// diffLine is an unchanged, added or removed line of a file.
type diffLine struct {
	Sign string // " ", "+" or "-"; "@" where lines are left out
	Text string
}

const (
	// maxDiffCells bounds the work of one comparison, and aroundDiff is how many
	// unchanged lines are shown around changed ones.
	maxDiffCells = 4 << 20
	aroundDiff   = 2
)

// diff compares two files line by line; it is empty if they are equal.
func diff(was, now []byte) []diffLine {
	a, b := strings.Split(string(was), "\n"), strings.Split(string(now), "\n")
	var head, tail []diffLine
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, diffLine{" ", a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, diffLine{" ", a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	slices.Reverse(tail)
	if len(a)+len(b) == 0 {
		return nil
	}
	return folded(slices.Concat(head, between(a, b), tail))
}

// between compares lines by their longest common subsequence, if that is affordable.
func between(a, b []string) (out []diffLine) {
	if (len(a)+1)*(len(b)+1) > maxDiffCells {
		for _, l := range a {
			out = append(out, diffLine{"-", l})
		}
		for _, l := range b {
			out = append(out, diffLine{"+", l})
		}
		return out
	}
	width := len(b) + 1
	common := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, diffLine{" ", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[(i+1)*width+j] >= common[i*width+j+1]:
			out = append(out, diffLine{"-", a[i]})
			i++
		default:
			out = append(out, diffLine{"+", b[j]})
			j++
		}
	}
	return out
}

// folded leaves out lines far from any change.
func folded(all []diffLine) (out []diffLine) {
	near := make([]bool, len(all))
	for i, l := range all {
		if l.Sign != " " {
			for k := max(0, i-aroundDiff); k <= min(len(all)-1, i+aroundDiff); k++ {
				near[k] = true
			}
		}
	}
	for i, l := range all {
		switch {
		case near[i]:
			out = append(out, l)
		case i > 0 && near[i-1] || i == 0:
			out = append(out, diffLine{Sign: "@"})
		}
	}
	return out
}
