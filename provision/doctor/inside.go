package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// Runtime is Docker's record of a container.
type Runtime struct {
	Restarts  int       // since its creation
	Started   time.Time // for the last time
	OOMKilled bool      // it was OOM-killed
	MemoryMB  int64
	Image     string   // ID of the image that it runs
	Pinned    string   // ID of the image that its image's name now stands for
	Stranger  string   // name of its image, if the lock says that it should be another
	Loose     []string // what it may do although compose.yaml forbids it
}

// Files are what the checks need to know about the files of an installation.
type Files struct {
	Edited  []string // rendered files that were edited by hand
	Unknown error    // why it is unknown which files were rendered; nil if it is known
	Missing []string // rendered files that are gone
	Lost    []string // secrets that are gone
	Kept    []string // of these, those without which data cannot be read
	Changed []string // secrets that were edited by hand
	Exposed []string // secrets that other users may read
	Half    string   // what was interrupted: "a restore", "an upgrade"
	HalfFix string
}

// settled is how long a service has to run before its earlier exits no longer count.
const settled = 10 * time.Minute

func (t Target) restarts(ctx context.Context) finding.Finding {
	list, err := t.Runtimes(ctx)
	if err != nil {
		return finding.Failure("cannot inspect the containers", err.Error(), "start Docker with: systemctl start docker").Without("nginx")
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		r := list[name]
		if r.OOMKilled {
			raise := "give " + name + " more with mem_limit in compose.override.yaml"
			if limits := answers.MoreMemory(t.Answers.MemoryLimits, name, int(r.MemoryMB)*3/2); limits != "" {
				raise = "appliance config set memory_limits=" + limits
			}
			return finding.Failure(name+" was OOM-killed", fmt.Sprintf("its memory limit is %d MB", r.MemoryMB),
				"use a host with more memory and run: appliance up; or raise the limit: "+raise)
		}
		if r.Restarts >= 3 && t.Now().Sub(r.Started) < settled {
			return finding.Warning(name+" was restarted "+finding.Counted(r.Restarts, "time", "times"), "it exited again and again", "see why with: appliance logs "+name)
		}
	}
	return finding.Good("no service has crashed")
}

func (t Target) images(ctx context.Context) finding.Finding {
	list, err := t.Runtimes(ctx)
	if err != nil {
		return finding.Failure("cannot inspect the containers", err.Error(), "start Docker with: systemctl start docker").Without("nginx")
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if r := list[name]; r.Stranger != "" {
			return finding.Warning(name+" does not run the image that "+r.Stranger+" is locked to", "another image was pulled or built under that name, and it is untested with this installation",
				"restore the locked image with: appliance up; or keep the new one with: rm "+t.Dir+"/images.lock && appliance up")
		}
		if r := list[name]; r.Pinned != "" && r.Image != r.Pinned {
			return finding.Warning(name+" runs an older image than the one its name now stands for", "another image was pulled or built under that name", "recreate it with: appliance up; or see: docker image ls --digests")
		}
	}
	return finding.Good("every service runs the image that its name stands for")
}

// hardening compares what the containers may do with what compose.yaml allows.
func hardening(ctx context.Context, t Target) finding.Finding {
	list, err := t.Runtimes(ctx)
	if err != nil {
		return finding.Failure("cannot inspect the containers", err.Error(), "start Docker with: systemctl start docker").Without("nginx")
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if more := list[name].Loose; len(more) > 0 {
			parts = append(parts, name+" "+strings.Join(more, ", "))
		}
	}
	if len(parts) > 0 {
		return finding.Warning("containers have more privileges than they need", joined(parts), "take it out of compose.override.yaml if it is there, and recreate them with: appliance down && appliance up")
	}
	return finding.Good("no container has more privileges than it needs")
}

// room warns before a full disk stops the databases.
func (t Target) room(context.Context) finding.Finding {
	free, total, err := t.FreeBytes(t.Dir)
	if err != nil {
		return finding.Warning("cannot tell how full the disk is", err.Error(), "look with: df -h "+t.Dir)
	}
	const gb = 1 << 30
	const fix = "free space with: docker image prune; remove old files from backups/; or use a larger disk"
	switch {
	case free < gb:
		return finding.Failure(fmt.Sprintf("the disk has %d MB left", free>>20), "databases stop when the disk is full", fix).
			Explaining("bridge", "homeserver", "mongo", "postgres", "rocketchat")
	case free < 3*gb || free < total/20:
		return finding.Warning(fmt.Sprintf("the disk has %d GB left of %d", free/gb, total/gb), "an upgrade needs room for images and a backup", fix)
	}
	return finding.Good("%d GB of disk free", free/gb)
}

func (t Target) drift(context.Context) finding.Finding {
	f := t.Files()
	if f.Unknown != nil {
		var hinted interface{ Hint() string }
		hint := "run: appliance up"
		if errors.As(f.Unknown, &hinted) {
			hint = hinted.Hint()
		}
		return finding.Failure("cannot tell which files were edited by hand", f.Unknown.Error(), hint)
	}
	if n := len(f.Missing); n > 0 {
		missing := finding.Failure(joined(f.Missing)+" "+isOrAre(n)+" missing", "services that read it do not start again", "write it again with: appliance up")
		if slices.Contains(f.Missing, "compose.yaml") || slices.Contains(f.Missing, ".env") {
			return missing.Explaining(all)
		}
		return missing
	}
	if len(f.Edited) > 0 {
		return finding.Warning(joined(f.Edited)+" "+wasOrWere(len(f.Edited))+" edited by hand", "the next change would overwrite the edit",
			"keep the edit with: appliance up --accept-edits; or discard it with: appliance up --overwrite")
	}
	return finding.Good("no rendered file was edited")
}

// override makes sure that Compose can use what the operator has added.
func override(ctx context.Context, t Target) finding.Finding {
	if err := t.Override(ctx); err != nil {
		return finding.Failure("compose.override.yaml cannot be used", err.Error(), "correct it, or move it away; then run: appliance up").Explaining(all)
	}
	return finding.Good("Compose can use its files")
}

func (t Target) notLoaded(ctx context.Context) finding.Finding {
	list, err := t.NotLoaded(ctx)
	if err != nil {
		return finding.Failure("cannot tell what the services run", err.Error(), "start Docker with: systemctl start docker").Without("nginx")
	}
	var files []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		files = append(files, list[name]...)
	}
	slices.Sort(files)
	if files = slices.Compact(files); len(files) == 0 {
		return finding.Good("every service runs the configuration on disk")
	}
	names := and(slices.Sorted(maps.Keys(list)))
	fix := "load it with: appliance up"
	if edited := t.Files().Edited; slices.ContainsFunc(files, func(f string) bool { return slices.Contains(edited, f) }) {
		fix = "load it with: appliance up --accept-edits; or discard the edit with: appliance up --overwrite"
	}
	return finding.Failure(names+" "+wasOrWere(len(list))+" started before "+joined(files)+" "+wasOrWere(len(files))+" changed", "the running configuration is not the one on disk", fix)
}

// and joins names as in a sentence.
func and(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func wasOrWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (t Target) modes(context.Context) finding.Finding {
	f := t.Files()
	switch n := len(f.Lost); {
	case len(f.Kept) > 0:
		fix := "put it back from a backup; while the services run, do not restart them"
		if n > 1 {
			fix = "put " + joined(f.Kept) + " back from a backup; while the services run, do not restart them"
		}
		if n > len(f.Kept) {
			fix += "; then make the others again with: appliance up"
		}
		return finding.Failure(joined(f.Lost)+" "+isOrAre(n)+" missing", "data of this installation cannot be used without "+joined(f.Kept), fix)
	case slices.Contains(f.Lost, "secrets/admin_password"):
		return finding.Failure(joined(f.Lost)+" "+isOrAre(n)+" missing", "the administrator's password was in it",
			"give the administrator a new one with: appliance up")
	case n > 0:
		return finding.Failure(joined(f.Lost)+" "+isOrAre(n)+" missing", "services that read it do not start again", "make it again with: appliance up")
	}
	if len(f.Exposed) > 0 {
		return finding.Failure(joined(f.Exposed)+" can be read by others", "it holds a secret", "restrict it with: chmod 600 "+strings.Join(f.Exposed, " "))
	}
	if len(f.Changed) > 0 {
		return finding.Warning(joined(f.Changed)+" "+wasOrWere(len(f.Changed))+" edited by hand", "whatever else uses the secret may have a different value", "see how to continue with: appliance up --dry-run")
	}
	return finding.Good("secrets are readable by their owners only")
}

func (t Target) unfinished(context.Context) finding.Finding {
	if f := t.Files(); f.Half != "" {
		return finding.Failure(f.Half+" was interrupted", "the installation is neither in the old nor in the new state", f.HalfFix)
	}
	return finding.Good("no restore or upgrade was interrupted")
}

// backups reminds the operator of backups once the installation is no longer new.
func (t Target) backups(ctx context.Context) finding.Finding {
	if c, failed := t.Chores()[ChoreBackup]; failed {
		return Failed(ChoreBackup, c)
	}
	const week = 7 * 24 * time.Hour
	began, last := t.Backups()
	age := t.Now().Sub(last)
	switch {
	case last.IsZero() && t.Now().Sub(began) < week:
		return finding.Good("there is no backup yet")
	case last.IsZero():
		return finding.Warning("there has never been a backup", "without a backup, a lost host cannot be restored", "make one with: appliance backup --output FILE; and store it on another host")
	case age > 2*24*time.Hour && t.Units(ctx).Nightly:
		return finding.Warning(fmt.Sprintf("the last backup is %d days old", int(age.Hours()/24)), "a timer should make one every night",
			"see what became of it: appliance service status; make one now with: appliance backup")
	case age > week:
		return finding.Warning(fmt.Sprintf("the last backup is %d days old", int(age.Hours()/24)), "everything after it would be lost with the host", "make one with: appliance backup --output FILE")
	}
	return finding.Good("the last backup is from %s", last.Format(time.DateOnly))
}
