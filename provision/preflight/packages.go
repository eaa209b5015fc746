package preflight

import (
	"context"
	"io/fs"
	"strconv"
	"strings"
)

// A Remedy is how to get what this host lacks of Docker.
type Remedy struct {
	Lacking  string     // what is missing; "" when nothing is
	Commands [][]string // what to run, in order; none when this system has no packages for it
	Advice   string     // what to do instead
}

// DockerRemedy queries Docker and Compose, and returns how to get the one that does not answer:
// from the packages of the distribution, and nowhere else. A Docker that is already installed
// is not replaced.
func DockerRemedy(ctx context.Context, h Host) Remedy {
	got := once(h).get(ctx)
	compose := got.composeErr != nil || got.v.Compose != "dev" && older(got.v.Compose, leastCompose)
	return remedy(h, got.dockerErr != nil, compose)
}

// remedy is DockerRemedy for what is known to be missing.
func remedy(h Host, docker, compose bool) Remedy {
	r := Remedy{Advice: "install Docker and its Compose plugin as https://docs.docker.com/engine/install/ says"}
	switch {
	case !docker && !compose:
		return Remedy{}
	case docker && compose:
		r.Lacking = "Docker and its Compose plugin are missing"
	case docker:
		r.Lacking = "Docker is missing"
	default:
		r.Lacking = "version " + leastCompose + " or newer of Docker's Compose plugin is missing"
	}
	here := has(h, "usr/bin/dockerd") || has(h, "usr/sbin/dockerd") || has(h, "usr/local/bin/dockerd")
	if docker && here {
		r.Lacking = "Docker is installed and does not answer"
		r.Commands, r.Advice = [][]string{{"systemctl", "enable", "--now", "docker"}}, "see why with: journalctl -n 50 -u docker"
		if !compose {
			return r
		}
	}
	plugin := composePackage(h)
	if plugin == "" || !has(h, "usr/bin/apt-get") {
		r.Commands = nil
		return r
	}
	var names []string
	if docker && !here {
		names = append(names, "docker.io")
	}
	if compose {
		names = append(names, plugin)
	}
	const wait = "DPkg::Lock::Timeout=300" // seconds; a fresh host updates itself
	r.Commands = append([][]string{
		{"apt-get", "update", "-q", "-o", wait},
		append([]string{"apt-get", "install", "-y", "-q", "--no-remove", "-o", wait}, names...),
	}, r.Commands...)
	r.Advice = "install by hand what is missing: apt-get install " + strings.Join(names, " ")
	return r
}

// fix returns the advice of the checks.
func (r Remedy) fix() string {
	if len(r.Commands) == 0 {
		return r.Advice
	}
	last := r.Commands[len(r.Commands)-1]
	if last[0] == "apt-get" {
		var names []string
		for _, word := range last[2:] {
			if strings.HasPrefix(word, "docker") {
				names = append(names, word)
			}
		}
		last = append([]string{"apt-get", "install"}, names...)
	}
	return "run: appliance prepare; or by hand: " + strings.Join(last, " ")
}

// composePackage returns the package of this system with version 2 of Compose, "" if there is none.
func composePackage(h Host) string {
	if has(h, "var/lib/dpkg/info/docker-ce.list") { // Docker's own repository is set up
		return "docker-compose-plugin"
	}
	data, _ := fs.ReadFile(h.Root, "etc/os-release") // os-release(5)
	var system, version string
	for line := range strings.Lines(string(data)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "ID", "ID_LIKE":
			system += " " + strings.Trim(value, `"`)
		case "VERSION_ID":
			version = strings.Trim(value, `"`)
		}
	}
	kinds := strings.Fields(system)
	for _, kind := range kinds {
		if kind == "ubuntu" {
			return "docker-compose-v2"
		}
	}
	if n, err := strconv.Atoi(version); err == nil && n >= 13 && len(kinds) > 0 && kinds[0] == "debian" {
		return "docker-compose" // Debian 12 has version 1 under this name
	}
	return ""
}

// has reports whether a file exists.
func has(h Host, name string) bool {
	_, err := fs.Stat(h.Root, name)
	return err == nil
}
