package people

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestABudgetFillsEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b budgets
		spent := func() (n int) {
			for b.spend(time.Minute, budget{"bob", 60}, budget{"server", 100}) {
				n++
			}
			return n
		}
		if n := spent(); n != 60 {
			t.Errorf("%d at first", n)
		}
		time.Sleep(10 * time.Second) // fake time
		if n := spent(); n != 10 {
			t.Errorf("%d after ten seconds, want 10", n)
		}
		if !b.spend(time.Minute, budget{"carol", 60}, budget{"server", 100}) {
			t.Error("another person of the server is refused")
		}
		if !b.spend(time.Minute, budget{"bob", 0}) {
			t.Error("no limit refuses")
		}
		b.spend(time.Minute, budget{"bob", 600}) // from now on ten a second
		time.Sleep(time.Second)
		for range 10 {
			if !b.spend(time.Minute, budget{"bob", 600}) {
				t.Error("a limit that was raised does not hold")
			}
		}
	})
}

func TestBudgetsAreBounded(t *testing.T) {
	var b budgets
	for n := range 3 * maxBudgets {
		b.spend(day, budget{fmt.Sprint(n), 5})
	}
	if len(b.buckets) > maxBudgets {
		t.Errorf("%d are kept", len(b.buckets))
	}
}
