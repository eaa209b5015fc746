package stall_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/stall"
)

var errStill = errors.New("nothing moves")

func TestATransferThatStandsStillIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context(), time.Minute, errStill)
		defer w.Stop()
		for range 5 {
			time.Sleep(59 * time.Second)
			w.Moved()
		}
		if err := w.Cause(); err != nil || ctx.Err() != nil {
			t.Fatalf("it moved, and was ended: %v", err)
		}
		w.Rest()
		time.Sleep(time.Hour)
		if err := w.Cause(); err != nil {
			t.Fatalf("it rested, and was ended: %v", err)
		}
		w.Moved()
		time.Sleep(time.Minute)
		synctest.Wait()
		if !errors.Is(w.Cause(), errStill) || ctx.Err() == nil {
			t.Errorf("it stood still: %v", w.Cause())
		}
	})
}

func TestTheCallersEndIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, w := stall.New(ctx, time.Minute, errStill)
	defer w.Stop()
	cancel()
	if !errors.Is(w.Cause(), context.Canceled) {
		t.Errorf("cause = %v", w.Cause())
	}
}
