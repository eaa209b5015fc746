package swarm

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"appliance/provision/answers"
)

// mounts gives a service what it reads and writes: memory, objects of the Swarm, and
// directories of the node with the data.
func (t *translation) mounts(name string, from, to mapping) error {
	var volumes []any
	for _, entry := range texts(from["tmpfs"]) {
		if target, options, _ := strings.Cut(entry, ":"); strings.Contains(options, "uid=") && t.in.pinned(name) {
			volumes = append(volumes, t.state("run/"+name, target, fmt.Sprint(from["user"])))
			continue
		}
		volumes = append(volumes, inMemory(entry))
	}
	if size, ok := from["shm_size"]; ok {
		volumes = append(volumes, mapping{"type": "tmpfs", "target": "/dev/shm", "tmpfs": mapping{"size": megabytes(fmt.Sprint(size))}})
	}
	for _, entry := range texts(from["volumes"]) {
		source, target, _ := strings.Cut(entry, ":")
		target = strings.TrimSuffix(target, ":ro")
		source = clean(source)
		switch root, rest, _ := strings.Cut(source, "/"); {
		case root == "config":
			for _, file := range below(t.files, source) {
				f := t.files[file]
				t.attach(to, object{file: file, data: f.Data, secret: private(f)}, target+strings.TrimPrefix(file, source))
			}
		case root == "secrets":
			t.secrets(to, rest, target)
		case source == "data/certs/live" && t.in.Render.Answers.TLS != answers.ACME:
			for _, host := range slices.Sorted(maps.Keys(t.in.Certificates)) {
				t.attach(to, object{file: "secrets/certificate_" + host, data: t.in.Certificates[host], secret: true}, path.Join(target, host+".pem"))
			}
		case root == "data" && t.in.pinned(name):
			volumes = append(volumes, t.state(rest, target, fmt.Sprint(from["user"])))
		case source == "data/bridge": // with PostgreSQL it holds nothing that is needed
			volumes = append(volumes, mapping{"type": "tmpfs", "target": target})
		default:
			return fmt.Errorf("%s has no counterpart in a Swarm", entry)
		}
	}
	if len(volumes) > 0 {
		to["volumes"] = volumes
	}
	return nil
}

// secrets attaches one secret, or all in a directory.
func (t *translation) secrets(to mapping, name, target string) {
	for _, n := range slices.Sorted(maps.Keys(t.in.Render.Secrets)) {
		s := string(n)
		if s == name || strings.HasPrefix(s, name+"/") {
			o := object{file: "secrets/" + s, data: []byte(t.in.Render.Secrets[n].Reveal()), secret: true}
			t.attach(to, o, target+strings.TrimPrefix(s, name))
		}
	}
}

// state is a directory of the node with the data.
func (t *translation) state(below, target, user string) mapping {
	at := path.Join(t.in.Options.State, below)
	var uid int
	_, _ = fmt.Sscan(user, &uid) // as far as the number goes
	if !slices.ContainsFunc(t.out.Dirs, func(d Dir) bool { return d.Path == at }) {
		t.out.Dirs = append(t.out.Dirs, Dir{Path: at, User: uid})
	}
	return mapping{"type": "bind", "source": at, "target": target}
}

// inMemory translates an entry of tmpfs. A stack file cannot set its owner: it belongs to
// root, with the mode that the directory has in the image, which lets everyone use /tmp.
func inMemory(entry string) mapping {
	target, options, _ := strings.Cut(entry, ":")
	out := mapping{"type": "tmpfs", "target": target}
	for option := range strings.SplitSeq(options, ",") {
		if size, ok := strings.CutPrefix(option, "size="); ok {
			out["tmpfs"] = mapping{"size": megabytes(size)}
		}
	}
	return out
}

// megabytes converts a size such as 64m to bytes.
func megabytes(size string) int {
	var n int
	_, _ = fmt.Sscanf(size, "%dm", &n)
	return n << 20
}

// texts returns the elements of a list as strings.
func texts(value any) []string {
	list, _ := value.([]any)
	out := make([]string, len(list))
	for i := range list {
		out[i] = fmt.Sprint(list[i])
	}
	return out
}
