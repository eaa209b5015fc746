package provision

import (
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/finding"
	"appliance/provision/homeserver"
	"appliance/provision/plan"
	"appliance/provision/rotate"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// editedSecrets returns a finding for every secret that was changed by hand, unless it is
// to be kept. It cannot be put back: nothing here knows the former one.
func editedSecrets(p *Prepared) ([]finding.Finding, error) {
	if p.opts.Edits == plan.Accept {
		return nil, nil
	}
	names, err := secrets.Edited(p.opts.Dir)
	names = slices.DeleteFunc(names, func(name secrets.Name) bool {
		_, turn := p.opts.Rotate.Of(name)
		return turn || slices.Contains(p.opts.Replaces, name)
	})
	// One command replaces all of them: it refuses as long as another one is left.
	rotation := []string{"appliance secrets rotate"}
	for _, name := range append(slices.Clone(p.opts.Replaces), names...) {
		if replaceable(p, name) {
			rotation = append(rotation, rotate.KeyOf(name))
		}
	}
	var out []finding.Finding
	for _, name := range names {
		out = append(out, editedSecret(p, name, strings.Join(rotation, " ")))
	}
	return out, err
}

// replaceable reports whether a new secret in place of one that was edited can be made.
func replaceable(p *Prepared, name secrets.Name) bool {
	_, err := rotate.Choose(p.opts.Answers, []string{rotate.KeyOf(name)})
	// To MongoDB only its root can tell a new password, even that of root.
	return err == nil && name != secrets.MongoRootPassword && secrets.Empty(p.opts.Dir, name) == nil
}

// edited returns a finding for every file that was changed by hand, unless
// the options say what becomes of them.
func (p *Prepared) edited() []finding.Finding {
	if p.opts.Edits != plan.Ask {
		return nil
	}
	var out []finding.Finding
	for _, name := range plan.Edited(p.seen.wanted, p.seen.state) {
		f := finding.Failure(p.site.Path(name)+" was edited by hand", plan.Difference(name, p.seen.state.Disk[name].File, p.seen.wanted.Files[name]),
			"keep the edit with: appliance up --accept-edits; or discard it with: appliance up --overwrite")
		f.Check = "edited-file"
		out = append(out, f)
	}
	return out
}

// editedSecret says how to get back to a secret that is the same on both sides; rotation is
// the command that makes new ones.
func editedSecret(p *Prepared, name secrets.Name, rotation string) finding.Finding {
	const keep = "; or, if that knows the new one too, keep it with: appliance up --accept-edits"
	file := secrets.Path(p.opts.Dir, name)
	f := finding.Failure(file+" was edited by hand", "what else uses this secret knows another one",
		"make a new one for both with: "+rotation+keep)
	f.Check = "edited-secret"
	if empty := secrets.Empty(p.opts.Dir, name); empty != nil {
		f.Summary, f.Why, f.Fix = empty.Error(), "what reads it does not start without it", empty.Hint()
		return f
	}
	if !replaceable(p, name) {
		f.Fix = "put the former one back, for example from a backup" + keep
	}
	if run := homeserver.Of(p.opts.Answers.Homeserver).Stack; name == secrets.MatrixKey && run != nil {
		f.Why = "other servers know this one by the former key, and would refuse what it signs with another"
		f.Fix = "put the former one back from a backup, and keep a key only if it was made for this name: appliance up --accept-edits"
		if !run.TranslatesKey {
			f.Fix = "put the former one back with: cp " + site.Quoted(filepath.Join(p.opts.Dir, "config/homeserver", run.SigningKey)) + " " + site.Quoted(file)
		}
	}
	return f
}
