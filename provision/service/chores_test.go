package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"appliance/provision/service"
)

// Two days of chores: a chore that was done before the program started is not repeated
// at once, and one that fails is reported and does not hold up the others.
func TestChoresAreDoneWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour-time.Minute)
		defer cancel()
		began := time.Now()
		var backups, complaints []string
		looks := 0
		service.Chores(ctx, []service.Chore{
			{Name: "doctor", Every: time.Hour, Do: func(context.Context) error {
				looks++
				if looks == 3 {
					return errors.New("nobody is in")
				}
				return nil
			}},
			{Name: "backup", Every: 24 * time.Hour, Do: func(context.Context) error {
				backups = append(backups, fmt.Sprint(time.Since(began)))
				return nil
			}},
		}, func(name string) time.Time {
			if name == "backup" {
				return began.Add(-15 * time.Hour)
			}
			return time.Time{}
		}, func(name string, err error) { complaints = append(complaints, name+": "+err.Error()) })
		if looks != 48 || !slices.Equal(backups, []string{"9h0m0s", "33h0m0s"}) || !slices.Equal(complaints, []string{"doctor: nobody is in"}) {
			t.Errorf("%d looks, backups after %v, said %v", looks, backups, complaints)
		}
	})
}
