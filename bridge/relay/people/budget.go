package people

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	day = 24 * time.Hour
	// maxBudgets bounds the number of senders and servers counted at one time.
	maxBudgets = 20000
)

// A budget is how often something may happen within a period; 0 means no limit.
type budget struct {
	key   string
	limit int
}

// budgets limits what senders and servers do, each with a token bucket that refills
// evenly. The zero value is ready to use. Its methods are safe for concurrent use.
type budgets struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// spend takes one token from each budget. If one is used up, it takes none and returns false.
func (b *budgets) spend(within time.Duration, all ...budget) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var taken []*rate.Limiter
	for _, one := range all {
		if one.limit <= 0 {
			continue
		}
		bucket := b.bucket(one, within, now)
		if bucket.TokensAt(now) < 1 {
			return false
		}
		taken = append(taken, bucket)
	}
	for _, bucket := range taken {
		bucket.AllowN(now, 1)
	}
	return true
}

// bucket returns the bucket of a budget. A limit that the operator has changed applies at
// once. The caller holds b.mu.
func (b *budgets) bucket(one budget, within time.Duration, now time.Time) *rate.Limiter {
	every := rate.Every(within / time.Duration(one.limit))
	if bucket, ok := b.buckets[one.key]; ok {
		if bucket.Burst() != one.limit {
			bucket.SetLimitAt(now, every)
			bucket.SetBurstAt(now, one.limit)
		}
		return bucket
	}
	if len(b.buckets) >= maxBudgets {
		b.forget(now)
	}
	if b.buckets == nil {
		b.buckets = map[string]*rate.Limiter{}
	}
	bucket := rate.NewLimiter(every, one.limit)
	b.buckets[one.key] = bucket
	return bucket
}

// forget drops the full buckets and, if too many remain, arbitrary others until fewer than
// half of maxBudgets are left. The caller holds b.mu.
func (b *budgets) forget(now time.Time) {
	for key, bucket := range b.buckets {
		if bucket.TokensAt(now) >= float64(bucket.Burst()) {
			delete(b.buckets, key)
		}
	}
	for key := range b.buckets {
		if len(b.buckets) < maxBudgets/2 {
			return
		}
		delete(b.buckets, key)
	}
}
