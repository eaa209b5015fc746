package main

import "testing"

// The bridge's own sentence is recognized, and nothing else makes a file's place arbitrary.
func TestFilesThatFollowLaterAreReadFromTheLog(t *testing.T) {
	f := &followers{events: map[string]bool{}}
	f.read([]byte("time=2026-11-29T11:41:11.424Z level=WARN msg=\"a file will follow later\" item=$W8dac-_x err=\"the file does not arrive\"\n" +
		"time=2026-11-29T11:41:11.425Z level=INFO msg=delivered item=$other lane=mx:!2Lr:demo.test kind=mx.message\n"))
	if !f.has("$W8dac-_x") || f.has("$other") || len(f.events) != 1 {
		t.Errorf("%v", f.events)
	}
	s := &script{prefix: "m ", said: []said{{text: "m 0 file.txt", parent: -1, file: true}, {text: "m 1", parent: -1}}}
	have := []shown{{id: "$W8dac-_x", number: 0, text: "m 0 file.txt"}, {id: "$b", number: 1, text: "m 1"}}
	told := s.told(have)
	swapped := []shown{{id: "y", number: 1, text: "m 1"}, {id: "x", number: 0, text: "m 0 file.txt"}}
	if v := told.judge(swapped, ""); v.disordered != 1 {
		t.Errorf("a file after a later message, of which the bridge says nothing: %s", v.String())
	}
	told.moved[0] = f.has(have[0].id)
	if v := told.judge(swapped, ""); !v.fine() {
		t.Errorf("a file that follows later: %s", v.String())
	}
}
