package plan

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"appliance/provision/render"
)

// Make lists the steps that bring the host to the wanted state.
func Make(w Wanted, s State, choice Choice) Plan {
	var p Plan
	add := func(id, title, cause string, do Op, after ...string) {
		after = slices.DeleteFunc(after, func(id string) bool { return !p.has(id) })
		p.Steps = append(p.Steps, Step{ID: id, Title: title, Cause: cause, After: after, Do: do})
	}
	if s.Swap.Cause != "" {
		add("swap", "add a swap file: "+strings.Join(s.Swap.Commands, "; "), s.Swap.Cause, MakeSwap{})
	}
	if n := len(w.NewSecrets); n > 0 {
		add("secrets", fmt.Sprintf("generate %d %s", n, verb(n, "secret", "secrets")), "none on disk", MakeSecrets{w.NewSecrets})
	}
	if n := len(w.Rotating); n > 0 {
		add("rotate", fmt.Sprintf("replace %d %s", n, verb(n, "secret", "secrets")), listed(rotating(w)), Rotate{w.Rotating}, "secrets")
	}
	paths := stale(w, s, choice)
	if len(paths) > 0 || len(s.MissingDirs) > 0 || choice == Accept && len(Edited(w, s)) > 0 {
		add("files", "write the configuration", filesCause(paths, s), WriteFiles{paths}, "secrets", "rotate")
	} else if edited := unrecorded(w.Files, s); len(edited) > 0 {
		add("files", "record what was edited by hand", listed(bases(edited))+" "+verb(len(edited), "differs", "differ")+" from the record", WriteFiles{})
	}
	certificates := func(started bool, after ...string) {
		for _, host := range w.Hosts {
			if cause := s.Certificates[host]; cause != "" {
				add("certificate", "get a certificate for "+host, cause, GetCertificate{host, started}, after...)
			}
		}
	}
	if !s.challengesUnanswered() {
		certificates(false, "files")
	}
	if !s.Images[w.Image] {
		add("program-image", "build the appliance image", "not built yet", BuildImage{w.Image})
	}
	if missing := w.missingImages(s); len(missing) > 0 {
		cause := "not on this host"
		if len(s.Strangers) == len(missing) {
			cause = "the lock names other images"
		}
		add("images", "fetch "+strings.Join(missing, ", "), cause, PullImages{missing}, "files")
	}
	if cause := lockCause(w, s); cause != "" {
		add("image-lock", "lock the images", cause, LockImages{}, "files", "images")
	}
	if len(s.Dumps) > 0 {
		add("databases", "load "+strings.Join(s.Dumps, " and ")+" from the backup", "a backup has been restored", LoadDatabases{s.Dumps}, "files", "images")
	}
	start := cmp.Or(servicesCause(paths, w.unwanted(s), s), rotationCause(w))
	if services, cause := notLoaded(w, s, paths); len(services) > 0 {
		add("load", "restart "+listed(services)+" with what is on disk", cause, Load{Services: services, Wait: start == ""}, "files")
	}
	if start != "" {
		add("services", "start the services", start, StartServices{w.unwanted(s)}, "rotate", "files", "certificate", "program-image", "images", "image-lock", "databases", "load")
	}
	if s.challengesUnanswered() {
		certificates(w.Profile("acme"), "files", "services")
	}
	if s.Bootstrap != "" {
		add("bootstrap", "create the administrator and the bridge account", s.Bootstrap, Bootstrap{}, "services")
	}
	if len(w.Rotating) > 0 {
		add("prove", "see that the new secrets are accepted and the old ones refused", listed(rotating(w)), Prove{w.Rotating}, "services", "bootstrap")
	}
	if s.Units != "" {
		add(UnitsStep, "start at boot, back up every night, try a backup every month, check and send alarms every hour", s.Units, InstallUnits{}, "files")
	}
	return p
}

// rotationCause returns why services are started although nothing else has changed: a database
// may be the only place that has a secret.
func rotationCause(w Wanted) string {
	if len(w.Rotating) > 0 {
		return "secrets are replaced"
	}
	return ""
}

// rotating names the files of the secrets that are being replaced.
func rotating(w Wanted) []string {
	names := make([]string, len(w.Rotating))
	for i, n := range w.Rotating {
		names[i] = path.Base(string(n))
	}
	return names
}

// UnitsStep is the ID of the step that installs units.
const UnitsStep = "units"

// labels are the variables of .env whose changes make Compose recreate a service.
var labels = map[string]string{"nginx": "NGINX_CONFIG", "homeserver": "HOMESERVER_CONFIG", "certs": "CERTS_CONFIG", "bridge": "BRIDGE_CONFIG"}

// notLoaded returns the services that have to be restarted to run what will be on disk, and the
// cause, which names the files.
func notLoaded(w Wanted, s State, paths []string) (services []string, cause string) {
	was, will := variables(s.Disk[".env"].Data), variables(w.Files[".env"].Data)
	var files []string
	for _, name := range slices.Sorted(maps.Keys(Reads)) {
		if s.Services[name].State != "running" || was[labels[name]] != will[labels[name]] {
			continue // it is restarted anyway
		}
		list := slices.Clone(s.NotLoaded[name])
		for _, p := range paths {
			read := slices.ContainsFunc(Reads[name], func(dir string) bool { return strings.HasPrefix(p, dir+"/") })
			if read && Identity(p, s.Disk[p].Data) != Identity(p, w.Files[p].Data) {
				list = append(list, p)
			}
		}
		if len(list) > 0 {
			services, files = append(services, name), append(files, list...)
		}
	}
	slices.Sort(files)
	files = slices.Compact(files)
	for i, f := range files {
		files[i] = path.Base(f)
	}
	return services, listed(files) + " " + verb(len(files), "is", "are") + " not in force"
}

// challengesUnanswered reports whether nginx holds the port that certificate
// authorities connect to while no service behind it answers: then the services are
// started first.
func (s State) challengesUnanswered() bool {
	return s.Services["nginx"].State == "running" && !s.Services["certs"].OK()
}

// Profile reports whether the answers ask for an optional service.
func (w Wanted) Profile(name string) bool { return slices.Contains(w.Profiles, name) }

func (p Plan) has(id string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.ID == id })
}

// lockCause returns why the lock has to be written: for names that it does not have, or that it
// will not have once the configuration is written.
func lockCause(w Wanted, s State) string {
	switch n := len(s.Unrecorded); {
	case n == 1:
		return s.Unrecorded[0] + " is not locked yet"
	case n > 1:
		return fmt.Sprintf("%d are not locked yet", n)
	}
	if slices.ContainsFunc(Changes(s.Disk[".env"].Data, w.Files[".env"].Data), func(c Change) bool { return c.Service != "bridge" }) {
		return "images change"
	}
	return ""
}

func (w Wanted) missingImages(s State) []string {
	var out []string
	for name, here := range s.Images {
		if !here && name != w.Image {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func filesCause(paths []string, s State) string {
	if len(s.Manifest.Files) == 0 {
		return "new installation"
	}
	if len(paths) == 0 {
		return "directories or records are missing"
	}
	return listed(bases(paths)) + " " + verb(len(paths), "differs", "differ")
}

// bases are the last parts of paths.
func bases(paths []string) []string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = path.Base(p)
	}
	return names
}

// composeFiles are the files that Compose itself reads: when one changes, only Compose knows
// what that means for the services.
var composeFiles = []string{"compose.yaml", ".env", "rocketchat.env"}

// unwanted returns the services that exist although the answers no longer ask
// for them.
func (w Wanted) unwanted(s State) []string {
	var out []string
	for profile, services := range render.OfProfile {
		for _, service := range services {
			if _, exists := s.Services[service]; exists && !w.Profile(profile) {
				out = append(out, service)
			}
		}
	}
	slices.Sort(out)
	return out
}

func servicesCause(paths, unwanted []string, s State) string {
	if len(s.Services) == 0 {
		return "none are running"
	}
	if len(s.Dumps) > 0 {
		return "databases are loaded"
	}
	if slices.ContainsFunc(paths, func(p string) bool { return slices.Contains(composeFiles, p) }) {
		return "configuration changed"
	}
	var down, changed []string
	for _, name := range slices.Sorted(maps.Keys(s.Hashes)) {
		switch service := s.Services[name]; {
		case !service.OK():
			down = append(down, name)
		case service.ConfigHash != s.Hashes[name]:
			changed = append(changed, name)
		}
	}
	var causes []string
	if len(down) > 0 {
		causes = append(causes, listed(down)+" "+verb(len(down), "is", "are")+" not healthy")
	}
	if len(changed) > 0 {
		causes = append(causes, "configuration of "+listed(changed)+" changed")
	}
	if len(s.Replaced) > 0 {
		causes = append(causes, "image of "+listed(s.Replaced)+" changed")
	}
	if len(unwanted) > 0 {
		causes = append(causes, listed(unwanted)+" "+verb(len(unwanted), "is", "are")+" no longer wanted")
	}
	return strings.Join(causes, ", ")
}

// listed names the first few of a list.
func listed(names []string) string {
	if len(names) > 4 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
