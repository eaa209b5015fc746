package stack

import (
	"context"
	"fmt"
	"time"
)

// restarts is how often a service may die while it is being started. Databases that start at
// the same time are a good reason for one or two deaths, not more.
const restarts = 4

// watchForCrashes cancels ctx with an UnhealthyError when a service keeps dying. Compose itself
// would wait for its whole timeout, because the service is always about to be restarted.
func (s Compose) watchForCrashes(ctx context.Context, cancel context.CancelCauseFunc) {
	before := map[string]int{}
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		services, err := s.stack.Services(ctx)
		if err != nil {
			continue
		}
		for _, service := range services {
			if n := s.deaths(ctx, service.ID, before); n >= restarts {
				cancel(&UnhealthyError{
					Service: service.Name, Reason: fmt.Sprintf("died %d times", n),
					Log: s.lastLines(context.WithoutCancel(ctx), service.Name),
				})
				return
			}
		}
	}
}

// deaths counts how often a container was restarted since it was first seen.
func (s Compose) deaths(ctx context.Context, id string, before map[string]int) int {
	info, err := s.stack.api(ctx).ContainerInspect(ctx, id)
	if err != nil || info.ContainerJSONBase == nil {
		return 0
	}
	if _, seen := before[id]; !seen {
		before[id] = info.RestartCount
	}
	return info.RestartCount - before[id]
}
