package service

import (
	"context"
	"time"
)

// A Chore is periodic work.
type Chore struct {
	Name  string
	Every time.Duration
	Do    func(context.Context) error
}

// Chores runs the chores until ctx ends, each when it is due, one after the other. last
// returns when a chore last ran; failed is called for each failure.
func Chores(ctx context.Context, chores []Chore, last func(name string) time.Time, failed func(name string, err error)) {
	due := make([]time.Time, len(chores))
	for n, c := range chores {
		due[n] = last(c.Name).Add(c.Every)
	}
	for {
		next := time.Now().Add(time.Hour)
		for n, c := range chores {
			if !time.Now().Before(due[n]) {
				if err := c.Do(ctx); err != nil && ctx.Err() == nil {
					failed(c.Name, err)
				}
				due[n] = time.Now().Add(c.Every)
			}
			if due[n].Before(next) {
				next = due[n]
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
