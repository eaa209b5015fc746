package doctor

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"appliance/provision/finding"
)

// A Sample is how full the disk was at one time.
type Sample struct {
	At    time.Time        `json:"at"`
	Used  int64            `json:"used"`  // bytes, whoever uses them
	Parts map[string]int64 `json:"parts"` // bytes of this installation: databases, media, logs ...
}

// Samples are taken and kept so that a month of them shows where disk usage is heading.
const (
	SampleEvery = 4 * time.Hour
	SamplesFor  = 30 * 24 * time.Hour
	fewest      = 6              // samples
	shortest    = 24 * time.Hour // between the first and the last
)

// growth warns before a disk that still has room fills up.
func (t Target) growth(context.Context) finding.Finding {
	free, _, err := t.FreeBytes(t.Dir)
	samples := t.Samples()
	if n := len(samples); err != nil || n < fewest || samples[n-1].At.Sub(samples[0].At) < shortest {
		return finding.Good("too early to tell how fast the disk fills up: that takes a day")
	}
	perDay := slope(samples, func(s Sample) int64 { return s.Used })
	if perDay < 1<<20 {
		return finding.Good("disk usage is not growing")
	}
	days := float64(free) / perDay
	if days > 30 {
		return finding.Good("the disk has room for more than a month")
	}
	part, its := fastest(samples)
	why := fmt.Sprintf("growing by %s a day, of which %s %s", size(perDay), part, size(its))
	fix := "use a larger disk, or free space with: docker image prune"
	switch {
	case its < perDay/4:
		why = fmt.Sprintf("growing by %s a day, mostly outside the installation; see: du -xd3 / | sort -n | tail", size(perDay))
	case part == "media":
		fix = "delete copies of other servers' media sooner: appliance config set remote_media_days=30 && appliance media prune; or use a larger disk"
	case part == "backups":
		fix = "keep fewer backups with: appliance backup --keep 7; or store them elsewhere with: --output FILE"
	}
	summary := "the disk will be full in " + finding.Counted(int(days), "day", "days")
	if days < 3 {
		return finding.Failure(summary, why, fix)
	}
	return finding.Warning(summary, why, fix)
}

func size(bytes float64) string {
	if bytes >= 1<<30 {
		return fmt.Sprintf("%.1f GB", bytes/(1<<30))
	}
	return fmt.Sprintf("%.0f MB", bytes/(1<<20))
}

// fastest returns the part of the installation that grows most, and by how many bytes a day.
func fastest(samples []Sample) (part string, perDay float64) {
	perDay = math.Inf(-1)
	for _, name := range slices.Sorted(maps.Keys(samples[len(samples)-1].Parts)) {
		if its := slope(samples, func(s Sample) int64 { return s.Parts[name] }); its > perDay {
			part, perDay = name, its
		}
	}
	return part, perDay
}

// slope is the growth in bytes a day: the median over all pairs of samples (Theil and Sen), so
// that one large file that came or went counts little.
func slope(samples []Sample, of func(Sample) int64) float64 {
	var all []float64
	for i, a := range samples {
		for _, b := range samples[i+1:] {
			if days := b.At.Sub(a.At).Hours() / 24; days > 0 {
				all = append(all, float64(of(b)-of(a))/days)
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
