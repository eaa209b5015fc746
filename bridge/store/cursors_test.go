package store_test

import (
	"fmt"
	"testing"
)

// TestCursorsAreReadAtOnce: all cursors of a kind are read in one query, and no others.
func TestCursorsAreReadAtOnce(t *testing.T) {
	for _, sub := range subjects {
		t.Run(sub.name, func(t *testing.T) {
			s, ctx := open(t, sub.url(t)), t.Context()
			for _, name := range []string{"rc:b", "rc:Ä", "RC:c", "rb:z", "rd:a", "r"} {
				if err := s.MoveCursor(ctx, name, "of "+name); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Cursors(ctx, "rc:")
			if err != nil || fmt.Sprint(got) != "map[b:of rc:b Ä:of rc:Ä]" {
				t.Error(got, err)
			}
		})
	}
}
