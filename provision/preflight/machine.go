package preflight

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

func (h Host) root(context.Context) finding.Finding {
	if h.EUID != 0 {
		return finding.Failure(fmt.Sprintf("running as user %d", h.EUID), "only root can create files for the users of the containers", "run it again with: sudo")
	}
	return finding.Good("running as root")
}

func (h Host) architecture(context.Context) finding.Finding {
	if h.Arch != "amd64" && h.Arch != "arm64" {
		return finding.Failure(h.Arch+" is not supported", "there are no images of Rocket.Chat for it", "use a host with an amd64 or arm64 processor")
	}
	return finding.Good("%s", h.Arch)
}

func (h Host) cpus(a answers.Answers) finding.Finding {
	if h.CPUs < a.MinCPUs {
		return finding.Failure(fmt.Sprintf("%d CPU, %d required", h.CPUs, a.MinCPUs),
			"Rocket.Chat, its database and the homeserver do not fit on fewer", "use a larger host, or at your own risk set the answer min_cpus")
	}
	return finding.Good("%d CPUs", h.CPUs)
}

// memory allows for what firmware and kernel reserve: a host sold with 2 GB reports some 5 %
// less.
func (h Host) memory(a answers.Answers) finding.Finding {
	total := h.meminfo("MemTotal")
	low := LacksSwap(h)
	switch {
	case total < a.MinMemoryMB*92/100:
		return finding.Failure(fmt.Sprintf("%d MB of memory, %d required", total, a.MinMemoryMB),
			"services would be killed when memory runs out", "use a larger host, or at your own risk set the answer min_memory_mb")
	case low != "" && NoSwapFile(h) != "":
		return finding.Warning(low, "all services together need nearly that much", "give this host more memory or swap; no swap file can be made here: "+NoSwapFile(h))
	case low != "":
		return finding.Warning(low, "all services together need nearly that much", "add a swap file of 2 GB: appliance up --set swap_file=yes")
	}
	return finding.Good("%d MB of memory", total)
}

// LacksSwap describes how little memory and swap the host has, "" if it has enough.
func LacksSwap(h Host) string {
	total, swap := h.meminfo("MemTotal"), h.meminfo("SwapTotal")
	if total >= 3500 || swap >= 1024 {
		return ""
	}
	return fmt.Sprintf("%d MB of memory and %d MB of swap", total, swap)
}

// NoSwapFile returns why no swap file can be made on this host, "" if one can.
func NoSwapFile(h Host) string {
	if f := h.virtualization(); f.Severity != finding.OK {
		return f.Summary + ", whose swap comes from the host around it"
	}
	return h.NoSwap()
}

// MemoryMB is how much memory the host has, 0 when it does not say.
func (h Host) MemoryMB() int { return h.meminfo("MemTotal") }

func (h Host) meminfo(key string) int {
	data, _ := fs.ReadFile(h.Root, "proc/meminfo")
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) >= 2 && f[0] == key+":" {
			kb, _ := strconv.Atoi(f[1])
			return kb / 1024
		}
	}
	return 0
}

// disk checks where Docker keeps its images and where the installation goes. A disk sold with
// 25 GB has some 22 free on a fresh system, so it goes by the size, less a tenth, and requires
// that a good part of it is free.
func (h Host) disk(ctx context.Context, a answers.Answers, dir string, d *dockerOnce) finding.Finding {
	paths := []string{dir}
	if root := d.get(ctx).v.Root; root != "" {
		paths = append(paths, root)
	}
	least := uint64(1 << 62)
	for _, path := range paths {
		free, total, err := h.FreeBytes(path)
		if err != nil {
			return finding.Warning("cannot tell how much of the disk at "+path+" is free", err.Error(), "make sure that 20 GB are free")
		}
		gb := func(n uint64) uint64 { return n >> 30 }
		want := uint64(max(a.MinDiskGB, 0)) << 30 //nolint:gosec // not negative
		if total < want/10*9 || free < want/4 {
			return finding.Failure(fmt.Sprintf("%s has %d GB, %d GB of them free; %d required", path, gb(total), gb(free), a.MinDiskGB),
				"images, databases and files do not fit", "use a larger disk or free some of it, or at your own risk set the answer min_disk_gb")
		}
		least = min(least, gb(free))
	}
	return finding.Good("%d GB free", least)
}

// processor returns the check of what MongoDB 5 and later are built for: without AVX on amd64,
// or before version 8.2 of the architecture on arm64, they crash with an illegal instruction.
func processor(h Host) finding.Check {
	if h.Arch == "arm64" {
		return finding.Check{Name: "armv8-2", Run: func(context.Context) finding.Finding { return armv82(h) }}
	}
	return finding.Check{Name: "avx", Run: func(context.Context) finding.Finding { return avx(h) }}
}

const (
	illegal   = "MongoDB 5 and later stop with an illegal instruction"
	elsewhere = ", or name a MongoDB of another host in the answer mongo_url"
)

func avx(h Host) finding.Finding {
	if h.Arch != "amd64" {
		return finding.Good("not needed on %s", h.Arch)
	}
	all := features(h, "flags")
	switch {
	case len(all) == 0:
		return finding.Warning("cannot tell whether the processor has AVX", "/proc/cpuinfo lists no flags", "make sure that it does")
	case lacking(all, "avx") != "":
		return finding.Failure("the processor has no AVX", illegal, "on Proxmox and QEMU set the processor type to host"+elsewhere)
	}
	return finding.Good("the processor has AVX")
}

// armv82 goes by atomics, introduced in version 8.1, and dcpop, introduced in version 8.2; both
// are mandatory there (Arm Architecture Reference Manual, FEAT_LSE and FEAT_DPB). If the cores
// differ, the least capable one counts.
func armv82(h Host) finding.Finding {
	all := features(h, "Features")
	if len(all) == 0 {
		return finding.Warning("cannot tell whether the processor is an ARMv8.2-A or later", "/proc/cpuinfo lists no features", "make sure that it is")
	}
	if least := lacking(all, "atomics", "dcpop"); least != "" {
		return finding.Failure("the processor is older than ARMv8.2-A", illegal+": the processor lacks "+least,
			"use a host with a Cortex-A55, A75, Neoverse N1 or later, such as a Raspberry Pi 5, Graviton 2 or Ampere Altra"+elsewhere)
	}
	return finding.Good("the processor is an ARMv8.2-A or later")
}

// features returns the features of every core, from its line in /proc/cpuinfo.
func features(h Host, key string) (all [][]string) {
	data, _ := fs.ReadFile(h.Root, "proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, list, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			all = append(all, strings.Fields(list))
		}
	}
	return all
}

// lacking returns the wanted features that at least one core does not have.
func lacking(all [][]string, wanted ...string) string {
	var out []string
	for _, want := range wanted {
		if slices.ContainsFunc(all, func(core []string) bool { return !slices.Contains(core, want) }) {
			out = append(out, want)
		}
	}
	return strings.Join(out, " and ")
}

// kernel matters because MongoDB 8.0 does not run on Linux 6.19 to 7.0.
func (h Host) kernel() finding.Finding {
	data, _ := fs.ReadFile(h.Root, "proc/sys/kernel/osrelease")
	release := strings.TrimSpace(string(data))
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return finding.Warning("cannot tell the version of the kernel", "/proc/sys/kernel/osrelease says "+strconv.Quote(release), "use Ubuntu 22.04 or 24.04")
	}
	if major == 6 && minor >= 19 || major == 7 && minor == 0 {
		return finding.Failure("Linux "+release, "MongoDB 8.0 crashes or refuses to start on Linux 6.19 to 7.0 (Ubuntu 26.04 has 7.0)",
			"use Ubuntu 22.04 or 24.04, or name another MongoDB in the answer mongo_url")
	}
	return finding.Good("Linux %s", release)
}
