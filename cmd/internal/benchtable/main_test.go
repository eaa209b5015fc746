package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const printed = `goos: linux
cpu: A processor
BenchmarkRooms/rooms=8,to-matrix-2         	     100	  12345 ns/op	         1.100 p50-ms	      4200 messages/s
    bench_test.go:1: waiting
BenchmarkOne-16	 5	 10 ns/op
BenchmarkMembers/members=1000-2	 1	743727735995 ns/op	 384.8 bridge-s	 351.7 joins-alone-s	 1.094 of-joins-alone
BenchmarkLarge-2	 5	 123456 ns/op
PASS
`

// The results of benchmarks become one table and one file, which also describe the machine.
func TestTheTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	if err := run(strings.NewReader(printed), &out, file, "v1"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"v1, ", " × A processor, ", "| Rooms/rooms=8,to-matrix | 1.1 p50-ms, 4200 messages/s |\n", "| One | 10 ns/op |\n",
		"| Members/members=1000 | 384.8 bridge-s, 351.7 joins-alone-s, 1.094 of-joins-alone |\n", "| Large | 123456 ns/op |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var table Table
	if err := json.Unmarshal(data, &table); err != nil || len(table.Rows) != 4 || table.Rows[0].Values[2] != (Figure{4200, "messages/s"}) || table.Machine.Cores == 0 || table.Machine.MemoryMB == 0 {
		t.Errorf("%+v, %v", table, err)
	}
	if err := run(strings.NewReader("BenchmarkX 1 x ns/op\n"), &out, "", ""); err == nil {
		t.Error("what is no number is taken for one")
	}
}
