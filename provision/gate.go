package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"appliance/provision/archive"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/site"
)

// Changes are the changes of images, with what each means for the data.
func (p *Prepared) Changes() []plan.Change {
	return plan.Changes(p.seen.state.Disk[".env"].Data, p.seen.wanted.Files[".env"].Data)
}

// gate refuses, outside an upgrade, what only an upgrade should do.
func (p *Prepared) gate() error {
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

// images are the names of all images, as this program pins them or as an
// upgrade was told.
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

// CheckVersions returns why versions cannot be used in place of what this program
// pins.
func CheckVersions(versions []byte) error {
	_, err := images(versions)
	return err
}

// images are the images of this installation.
func (p *Prepared) images() (map[string]string, error) {
	if p.opts.Versions != nil {
		return images(*p.opts.Versions)
	}
	data, err := os.ReadFile(p.site.Path(site.VersionsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return images(data)
}
