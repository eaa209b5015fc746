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

// editedSecrets returns a finding for every secret that was edited by hand, unless edits are
// accepted. The old value cannot be put back, because nothing here has it.
func editedSecrets(p *Prepared) ([]finding.Finding, error) {
	if p.opts.Edits == plan.Accept {
		return nil, nil
	}
	names, err := secrets.Edited(p.opts.Dir)
	names = slices.DeleteFunc(names, func(name secrets.Name) bool {
		_, turn := p.opts.Rotate.Of(name)
		return turn || slices.Contains(p.opts.Replaces, name)
	})
	// A single command has to name all of them: it refuses while another edited secret is left.
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

// replaceable reports whether an edited secret can be replaced by a new one.
func replaceable(p *Prepared, name secrets.Name) bool {
	_, err := rotate.Choose(p.opts.Answers, []string{rotate.KeyOf(name)})
	// Only MongoDB's root can set a new password there, even its own.
	return err == nil && name != secrets.MongoRootPassword && secrets.Empty(p.opts.Dir, name) == nil
}

// edited returns a finding for every file that was edited by hand, unless the options say what
// to do with them.
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

// editedSecret explains how to get both sides back to the same secret; rotation is the command
// that makes new ones.
func editedSecret(p *Prepared, name secrets.Name, rotation string) finding.Finding {
	const keep = "; or, if that knows the new one too, keep it with: appliance up --accept-edits"
	file := secrets.Path(p.opts.Dir, name)
	f := finding.Failure(file+" was edited by hand", "whatever else uses this secret has a different value",
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
