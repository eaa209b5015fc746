package render

import (
	"bytes"
	"path"
	"strings"
	"text/template"

	"appliance/provision/answers"
	"appliance/templates"
)

// Units is what systemd needs to look after an installation.
type Units struct {
	Answers    answers.Answers
	Prefix     string // what their names begin with; see UnitPrefix
	Dir        string // the installation directory
	Program    string // the path of this program
	Docker     string // the path of the docker command
	Keep       int    // how many backups; 0 for no timer that makes them
	Drill      bool   // a timer restores the newest backup beside the installation to test it
	Recipients string // file with the public keys that backups are encrypted for, or "" for the installation's own
	Plain      bool   // backups are not encrypted
}

// Name returns the name of the server, for people.
func (u Units) Name() string { return u.Answers.ServerName }

// UnitNames returns the names of the units, with a prefix: those that make backups if any are
// to be kept, and with drill those that test a backup every month.
func UnitNames(a answers.Answers, prefix string, keep int, drill bool) []string {
	names := []string{".service", "-doctor.service", "-doctor.timer"}
	if keep > 0 {
		names = append(names, "-backup.service", "-backup.timer")
	}
	if drill {
		names = append(names, "-drill.service", "-drill.timer")
	}
	if a.TLS != answers.ACME {
		names = append(names, "-certs.service", "-certs.timer")
	}
	for i, name := range names {
		names[i] = prefix + name
	}
	return names
}

// Files renders the units by their names. Certificates need a timer only where no
// service renews them.
func (u Units) Files() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, name := range UnitNames(u.Answers, "", u.Keep, u.Drill) {
		from := "appliance" + name + ".tmpl"
		t, err := template.New(path.Base(from)).Funcs(template.FuncMap{"arg": unitArgument, "path": unitPath, "program": unitProgram}).ParseFS(templates.FS, from)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, u); err != nil {
			return nil, err
		}
		out[u.Prefix+name] = b.Bytes()
	}
	return out, nil
}

// UnitPrefix returns what the unit names of an installation with this name begin with.
func UnitPrefix(name string) string {
	if name == "appliance" {
		return name
	}
	return "appliance-at-" + name
}

// unitPath escapes a path where systemd takes the rest of the line.
func unitPath(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// unitProgram escapes the first word of a command line, where a $ is only a $.
func unitProgram(s string) string { return strings.ReplaceAll(unitArgument(s), "$$", "$") }

// unitArgument escapes one argument of a command line.
func unitArgument(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `$`, `$$`, `\`, `\\`, `"`, `\"`).Replace(s)
	if s == "" || strings.ContainsAny(s, " '\t;") || strings.Contains(s, `\`) {
		return `"` + s + `"`
	}
	return s
}
