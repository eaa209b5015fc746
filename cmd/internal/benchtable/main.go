// Command benchtable makes one table from the output of benchmarks. It reads the output
// of `go test -bench` and writes Markdown to its standard output and, with -json, the
// same as JSON to a file, with the machine described in both.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Table is one run on one machine.
type Table struct {
	Version string    `json:"version,omitempty"`
	Begun   time.Time `json:"begun"`
	Machine Machine   `json:"machine"`
	Rows    []Row     `json:"rows"`
}

// A Machine is where the run was.
type Machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB uint64 `json:"memory_mb"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	// Load is the mean number of processes that wanted to run in the minute before.
	Load float64 `json:"load"`
}

// A Row is one benchmark with what it reports.
type Row struct {
	Name   string   `json:"name"`
	Values []Figure `json:"values"`
}

// A Figure is a number in a unit.
type Figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func main() {
	file := flag.String("json", "", "also write JSON to this file")
	version := flag.String("version", "", "what was measured")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *file, *version); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, file, version string) error {
	t := Table{Version: version, Begun: time.Now().UTC().Truncate(time.Second)}
	var cpu string
	var err error
	if t.Rows, cpu, err = parse(in); err != nil {
		return err
	}
	t.Machine = machine(cpu)
	if _, err := io.WriteString(out, t.markdown()); err != nil || file == "" {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) //nolint:gosec // a file that the caller names, for everybody to read
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	e.SetIndent("", "  ")
	return cmp.Or(e.Encode(t), f.Close())
}

// parse reads the result lines of benchmarks; other lines do not matter.
func parse(in io.Reader) (rows []Row, cpu string, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "cpu: "); ok {
			cpu = name
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		r := Row{Name: nameOf(fields[0])}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, cpu, fmt.Errorf("%q is no number, in the line of %s", fields[i], fields[0])
			}
			r.Values = append(r.Values, Figure{v, fields[i+1]})
		}
		rows = append(rows, r)
	}
	return rows, cpu, lines.Err()
}

// nameOf is a benchmark's name without the number of cores at its end.
func nameOf(s string) string {
	s = strings.TrimPrefix(s, "Benchmark")
	if i := strings.LastIndexByte(s, '-'); i > 0 {
		if _, err := strconv.Atoi(s[i+1:]); err == nil {
			return s[:i]
		}
	}
	return s
}

func machine(cpu string) Machine {
	m := Machine{CPU: cmp.Or(cpu, "unknown"), Cores: runtime.NumCPU(), Go: runtime.Version()}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMB, m.Load = info.Totalram*uint64(info.Unit)>>20, float64(info.Loads[0])/(1<<16)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	return m
}

// markdown is the table for people. Where a benchmark reports figures of its own, the
// time of the whole benchmark says nothing and is left out.
func (t *Table) markdown() string {
	var b strings.Builder
	m := t.Machine
	fmt.Fprintf(&b, "%s, %s: %d × %s, %d MB, %s, %s; load at the end %.1f.\n\n| measured | result |\n|---|---|\n",
		cmp.Or(t.Version, "devel"), t.Begun.Format(time.RFC3339), m.Cores, m.CPU, m.MemoryMB, m.Kernel, m.Go, m.Load)
	for _, r := range t.Rows {
		var all []string
		for _, f := range r.Values {
			if f.Unit != "ns/op" || len(r.Values) == 1 {
				all = append(all, figure(f.Value)+" "+f.Unit)
			}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", r.Name, strings.Join(all, ", "))
	}
	return b.String()
}

// figure writes a number with four digits, or all the digits before the point.
func figure(v float64) string {
	if v >= 10_000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
