package stack

import "appliance/provision/plan"

// Progress returns a function that reports Compose's events as the progress of a step.
func Progress(r plan.Reporter, step string) func(Event) {
	return func(ev Event) {
		if ev.Error || ev.Text == "" {
			return
		}
		id := ev.ID
		if ev.ParentID != "" {
			id = ev.ParentID + " " + id
		}
		r.Progress(step, id+" "+ev.Text, ev.Current, ev.Total)
	}
}
