package checkup

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
	"appliance/provision/site"
)

// samples returns the recorded samples, oldest first. An unreadable file is ignored: that costs
// a month of waiting at most.
func samples(s *site.Site) []doctor.Sample {
	var out []doctor.Sample
	data, err := os.ReadFile(s.Path(site.GrowthFile))
	if err != nil || json.Unmarshal(data, &out) != nil {
		return nil
	}
	slices.SortFunc(out, func(a, b doctor.Sample) int { return a.At.Compare(b.At) })
	return out
}

// remember adds a sample, unless the last one is recent.
func remember(ctx context.Context, s *site.Site, now time.Time) error {
	kept := slices.DeleteFunc(samples(s), func(at doctor.Sample) bool {
		return now.Sub(at.At) > doctor.SamplesFor || at.At.After(now) // a clock that was wrong
	})
	if n := len(kept); n > 0 && now.Sub(kept[n-1].At) < doctor.SampleEvery {
		return nil
	}
	free, total, err := preflight.RealHost(s.Stack).FreeBytes(s.Dir)
	if err != nil {
		return err
	}
	measured := parts(ctx, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	used := int64(total - free) //nolint:gosec // no disk has 8 EB
	data, err := json.Marshal(append(kept, doctor.Sample{At: now.UTC().Truncate(time.Second), Used: used, Parts: measured}))
	if err != nil {
		return err
	}
	return atomicfile.Write(s.Path(site.GrowthFile), data, 0o600)
}

// parts measures the parts of the installation that grow.
func parts(ctx context.Context, s *site.Site) map[string]int64 {
	out := map[string]int64{
		"databases": bytesBelow(ctx, s, "data/postgres") + bytesBelow(ctx, s, "data/mongo") + bytesBelow(ctx, s, "data/bridge"),
		"media":     bytesBelow(ctx, s, "data/homeserver"),
		"backups":   bytesBelow(ctx, s, site.BackupsDir),
	}
	logs, err := s.Stack.LogFiles(ctx)
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

func bytesBelow(ctx context.Context, s *site.Site, dir string) (sum int64) {
	_ = filepath.WalkDir(s.Path(dir), func(_ string, d fs.DirEntry, err error) error {
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

// occupied returns the disk space that a file takes, in bytes.
func occupied(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return 0
}
