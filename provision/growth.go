package provision

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"appliance/provision/doctor"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/preflight"
)

// growthFile remembers how full the disk was whenever the doctor has looked.
const growthFile = ".growth.json"

// samples returns what was remembered, the oldest first. What cannot be read is
// forgotten: it is worth a month of waiting at most.
func (p *Prepared) samples() []doctor.Sample {
	var out []doctor.Sample
	data, err := os.ReadFile(p.path(growthFile))
	if err != nil || json.Unmarshal(data, &out) != nil {
		return nil
	}
	slices.SortFunc(out, func(a, b doctor.Sample) int { return a.At.Compare(b.At) })
	return out
}

// remember adds a sample, unless the last one is recent.
func (p *Prepared) remember(ctx context.Context, now time.Time) error {
	samples := slices.DeleteFunc(p.samples(), func(s doctor.Sample) bool {
		return now.Sub(s.At) > doctor.SamplesFor || s.At.After(now) // a clock that was wrong
	})
	if n := len(samples); n > 0 && now.Sub(samples[n-1].At) < doctor.SampleEvery {
		return nil
	}
	free, total, err := preflight.RealHost(p.stack).FreeBytes(p.opts.Dir)
	if err != nil {
		return err
	}
	parts := p.parts(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	used := int64(total - free) //nolint:gosec // no disk has 8 EB
	data, err := json.Marshal(append(samples, doctor.Sample{At: now.UTC().Truncate(time.Second), Used: used, Parts: parts}))
	if err != nil {
		return err
	}
	return atomicfile.Write(p.path(growthFile), data, 0o600)
}

// parts measures what of the installation grows.
func (p *Prepared) parts(ctx context.Context) map[string]int64 {
	out := map[string]int64{
		"databases": p.bytesBelow(ctx, "data/postgres") + p.bytesBelow(ctx, "data/mongo") + p.bytesBelow(ctx, "data/bridge"),
		"media":     p.bytesBelow(ctx, "data/homeserver"),
		"backups":   p.bytesBelow(ctx, BackupsDir),
	}
	logs, err := p.stack.LogFiles(ctx)
	if err != nil {
		return out
	}
	out["logs"] = 0
	for _, name := range logs {
		rotated, _ := filepath.Glob(name + "*")
		for _, f := range rotated {
			if info, err := os.Stat(f); err == nil {
				out["logs"] += occupied(info)
			}
		}
	}
	return out
}

func (p *Prepared) bytesBelow(ctx context.Context, dir string) (sum int64) {
	_ = filepath.WalkDir(p.path(dir), func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what has just gone occupies nothing
		}
		if info, err := d.Info(); err == nil {
			sum += occupied(info)
		}
		return nil
	})
	return sum
}

// occupied is what a file takes of the disk, in bytes.
func occupied(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return 0
}
