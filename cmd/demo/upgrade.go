package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appliance/compose"
)

// upgrades tries upgrades to other images, good and bad.
type upgrades struct{ *demo }

// upgrade moves the installation to versions that are good, and to others that
// are not: one that dies and takes Rocket.Chat's data with it, and one whose
// database is of the next major version. The conversation continues through all of them.
func (d upgrades) upgrade(ctx context.Context, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	t, err := d.converse(ctx, "upgrade")
	if err != nil {
		return err
	}
	goOn := func(what string) error { return t.goOn(ctx, what, messages) }
	if err := goOn("before"); err != nil {
		return err
	}
	pinned := versions()
	rc, hs, pg := pinned["ROCKETCHAT_IMAGE"], pinned["DENDRITE_IMAGE"], pinned["POSTGRES_IMAGE"]
	const dies = `ENTRYPOINT ["/bin/sh","-c","echo this version is broken; exit 3"]`
	const eats = `ENTRYPOINT ["/bin/sh","-c","for f in /data/*; do echo spoilt >$f; done; echo this version is broken; exit 3"]`
	accepted := []string{"--accept-breaking"} // of PostgreSQL, and of a Rocket.Chat whose MongoDB is elsewhere
	reached := ""                             // the versions that the installation has reached
	for _, s := range []struct {
		what, key, from, to, change string
		flags                       []string
		bad                         bool
	}{
		{"a good new Rocket.Chat", "ROCKETCHAT_IMAGE", rc, rc + "0", "", accepted, false},
		{"a homeserver that dies", "DENDRITE_IMAGE", hs, hs + "0", dies, nil, true},
		{"a Rocket.Chat that spoils its data", "ROCKETCHAT_IMAGE", rc, rc + "00", eats, accepted, true},
		{"the next PostgreSQL", "POSTGRES_IMAGE", "", nextMajor(pg), "", accepted, false},
	} {
		if s.from != "" { // otherwise it is on this machine, see compose/stage/images.sh
			if err := d.derive(ctx, s.from, s.to, s.change); err != nil {
				return err
			}
		}
		file := d.path("versions.env")
		if err := os.WriteFile(file, []byte(reached+s.key+"="+s.to+"\n"), 0o600); err != nil {
			return err
		}
		start := time.Now()
		out, err := d.command(ctx, d.program, append([]string{"upgrade", "--dir", d.install(), "--versions", file, "--yes"}, s.flags...)...)
		switch {
		case !s.bad && err != nil:
			return fmt.Errorf("%s: %w", s.what, err)
		case s.bad && !rolledBack(err):
			return fmt.Errorf("%s: it should have been rolled back: %w\n%s", s.what, err, out)
		}
		if !s.bad {
			reached += s.key + "=" + s.to + "\n"
		}
		d.say("upgrade to %s: %.1f s", s.what, seconds(start))
		if err := goOn("after " + s.what); err != nil {
			return err
		}
	}
	if err := d.keepsBackups(3); err != nil {
		return err
	}
	// Going back to what the program pins is refused because of the database.
	if _, err := d.command(ctx, d.program, "upgrade", "--dir", d.install(), "--yes"); err == nil || !strings.Contains(err.Error(), "a database cannot be downgraded") {
		return fmt.Errorf("an upgrade to an older database was not refused: %w", err)
	}
	return nil
}

// keepsBackups makes sure that upgrades do not fill the disk with their backups.
func (d upgrades) keepsBackups(most int) error {
	made, err := filepath.Glob(d.path("install/backups/before-upgrade-*"))
	if err == nil && (len(made) == 0 || len(made) > most) {
		err = fmt.Errorf("upgrades have left %d backups, at most %d should stay: %v", len(made), most, made)
	}
	return err
}

// goOn continues the conversation: everything must arrive, and the doctor must find nothing wrong.
func (t *talk) goOn(ctx context.Context, what string, messages int) error {
	if err := t.flood(ctx, messages); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := t.d.command(ctx, t.d.program, "doctor", "--dir", t.d.install()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	t.d.say("%s: nothing lost or duplicated; the doctor finds nothing wrong", what)
	return nil
}

// rolledBack reports whether an upgrade failed and was rolled back.
func rolledBack(err error) bool {
	return exitCode(err) == 8 && strings.Contains(err.Error(), "the upgrade failed and was rolled back")
}

// derivedImages is a file with the names of the images that derive has made. The
// installation may still use some of them, so they are removed with it.
const derivedImages = "derived_images"

// underive removes what derive has made.
func (d upgrades) underive(ctx context.Context) error {
	names, err := os.ReadFile(d.path(derivedImages))
	if err != nil {
		return nil //nolint:nilerr // there are none
	}
	var errs []error
	for _, name := range slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(names))))) {
		if _, err := d.command(ctx, "docker", "image", "inspect", name); err == nil {
			_, err = d.command(ctx, "docker", "image", "rm", name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// derive makes an image under another name, changed by an instruction.
func (d upgrades) derive(ctx context.Context, from, to, change string) error {
	known, _ := os.ReadFile(d.path(derivedImages))
	if err := d.write(derivedImages, append(known, to+"\n"...), 0o644); err != nil {
		return err
	}
	if change == "" {
		_, err := d.command(ctx, "docker", "tag", from, to)
		return err
	}
	id, err := d.command(ctx, "docker", "create", from)
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	_, err = d.command(ctx, "docker", "commit", "--change", change, id, to)
	_, rmErr := d.command(ctx, "docker", "rm", id)
	return errors.Join(err, rmErr)
}

func versions() map[string]string {
	out := map[string]string{}
	for l := range strings.Lines(string(compose.Versions)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
			out[key] = value
		}
	}
	return out
}

// nextMajor names the next major version of an image whose tag is a number.
func nextMajor(image string) string {
	name, tag, _ := strings.Cut(image, ":")
	var n int
	_, _ = fmt.Sscan(tag, &n)
	return fmt.Sprintf("%s:%d", name, n+1)
}
