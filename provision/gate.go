package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"appliance/provision/archive"
	"appliance/provision/databases"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/site"
)

// Changes returns the image changes, with what each means for the data. For a database the data
// on disk counts, whatever image was meant to run.
func (p *Prepared) Changes() []plan.Change {
	changes := plan.Changes(p.seen.state.Disk[".env"].Data, p.seen.wanted.Files[".env"].Data)
	for i, c := range changes {
		real := map[string]string{databases.Postgres: p.seen.formats.Postgres, databases.Mongo: p.seen.formats.Server}[c.Service]
		if real == "" {
			continue
		}
		judged := plan.Between(c.Service, c.Service+":"+real, c.To)
		changes[i].Breaking, changes[i].Refused = judged.Breaking, judged.Refused
		if c.Service == databases.Mongo && c.From != "" && judged.Breaking != "" && p.seen.formats.Behind() {
			changes[i].Refused = fmt.Sprintf("MongoDB %s keeps its data in the format of %s, so this would skip a version: first run: appliance upgrade --finish", real, p.seen.formats.Mongo)
		}
	}
	return changes
}

// foreignFiles refuses to start PostgreSQL on files of another major version, unless an upgrade
// or a restore replaces them with a dump.
func (p *Prepared) foreignFiles() error {
	files, image := p.seen.formats.Postgres, plan.Image(p.seen.wanted.Files[".env"].Data, databases.Postgres)
	major, ok := plan.Major(image)
	if files == "" || !ok || files == strconv.Itoa(major) || len(p.seen.state.Dumps) > 0 {
		return nil
	}
	if slices.ContainsFunc(p.Changes(), func(c plan.Change) bool { return c.Service == databases.Postgres }) {
		return nil // Changes judges it by these files
	}
	return &GateError{
		[]string{fmt.Sprintf("postgres: %s has files of PostgreSQL %s, which %s must not open", p.site.Path("data/postgres"), files, image)},
		fmt.Sprintf("use the version that wrote them: echo POSTGRES_IMAGE=postgres:%s >>%s && appliance up; then upgrade it with: appliance upgrade", files, site.Quoted(p.site.Path(site.VersionsFile))),
	}
}

// gate refuses changes that only an upgrade should make, unless this is one.
func (p *Prepared) gate() error {
	if err := p.foreignFiles(); err != nil {
		return err
	}
	if p.opts.Upgrade {
		return nil
	}
	if _, err := archive.ReadReturnPoint(p.site); err == nil {
		return &archive.InterruptedError{Dir: p.opts.Dir}
	}
	severe := plan.Severe(p.Changes())
	if len(p.seen.state.Dumps) > 0 {
		severe = plan.Refused(severe) // databases are recreated anyway
	}
	var reasons []string
	for _, c := range severe {
		reasons = append(reasons, c.Service+": "+c.From+" -> "+c.To+": "+c.Refused+c.Breaking)
	}
	if len(reasons) > 0 {
		return &GateError{reasons, "use: appliance upgrade, which makes a backup first and rolls back if it fails"}
	}
	return nil
}

// images returns the names of all images, as this program pins them or as versions overrides
// them.
func images(versions []byte) (map[string]string, error) {
	out := render.Images()
	for key, value := range render.ParseVersions(versions) {
		if _, known := out[key]; !known || value == "" {
			return nil, &GateError{[]string{fmt.Sprintf("versions: %q is not the name of an image", key)}, "see the names with: appliance version --json"}
		}
		out[key] = value
	}
	return out, nil
}

// CheckVersions returns an error if versions cannot override what this program pins.
func CheckVersions(versions []byte) error {
	_, err := images(versions)
	return err
}

// images returns the images of this installation.
func (p *Prepared) images() (map[string]string, error) {
	if p.opts.Versions != nil {
		return images(*p.opts.Versions)
	}
	data, err := os.ReadFile(p.site.Path(site.VersionsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list, err := images(data)
	if gate := (*GateError)(nil); errors.As(err, &gate) {
		gate.Reasons[0] = p.site.Path(site.VersionsFile) + ": " + strings.TrimPrefix(gate.Reasons[0], "versions: ")
	}
	return list, err
}
