package sim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// A limiter counts calls in fixed windows, by key.
type limiter map[string]*window

type window struct {
	ends  time.Time
	calls int
}

// take counts one call and returns how many are left and when the window ends; a
// negative rest means that the limit is exceeded.
func (l limiter) take(key string, limit int, interval time.Duration, now time.Time) (rest int, ends time.Time) {
	if len(l) > 10000 {
		l.sweep(now)
	}
	w := l[key]
	if w == nil || !now.Before(w.ends) {
		w = &window{ends: now.Add(interval)}
		l[key] = w
	}
	w.calls++
	return limit - w.calls, w.ends
}

func (l limiter) sweep(now time.Time) {
	for k, w := range l {
		if !now.Before(w.ends) {
			delete(l, k)
		}
	}
}

// A rate is an endpoint's own limit; zero means the default (facts 10).
type rate struct {
	calls    int
	interval time.Duration
	setting  string // the setting that holds calls
}

// limitREST is the REST rate limiter: per route, method and client address, except
// for callers with api-bypass-rate-limit (facts 10). 7.2 does not enforce it on v1.
// A genuine 8.3 does from a workspace's second start on; here it always does.
func (c *call) limitREST(ep *endpoint) error {
	e := c.e
	if e.env.testMode || e.rel.noLimiter || !e.settingOn("API_Enable_Rate_Limiter") || ep.unlimited {
		return nil
	}
	if c.user != nil && e.may(c.user, "api-bypass-rate-limit", "") {
		return nil
	}
	calls, interval := e.rateOf(ep)
	now := time.Now()
	rest, ends := e.limits.take("rest "+ep.method+" "+ep.path+" "+c.ip, calls, interval, now)
	h := c.header
	h.Set("X-RateLimit-Limit", strconv.Itoa(calls))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(rest, 0)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(ends.UnixMilli(), 10))
	if rest >= 0 {
		return nil
	}
	return tooManyREST(int(math.Ceil(ends.Sub(now).Seconds())))
}

func (e *Engine) rateOf(ep *endpoint) (int, time.Duration) {
	if ep.limit.setting != "" {
		return e.settingNum(ep.limit.setting), time.Minute
	}
	if ep.limit.calls > 0 {
		return ep.limit.calls, ep.limit.interval
	}
	return e.settingNum("API_Enable_Rate_Limiter_Limit_Calls_Default"),
		time.Duration(e.settingNum("API_Enable_Rate_Limiter_Limit_Time_Default")) * time.Millisecond
}

func tooManyREST(seconds int) *fault {
	return &fault{status: http.StatusTooManyRequests, text: fmt.Sprintf("Error, too many requests. Please slow down. "+
		"You must wait %d seconds before trying this endpoint again. [error-too-many-requests]", seconds)}
}

// limitDDP applies the five DDP limits to one method call or subscription; no
// permission lifts them (facts 7.5).
func (e *Engine) limitDDP(name, ip, uid, connection string) error {
	if e.env.testMode {
		return nil
	}
	scopes := []struct {
		setting, key string
		byMethod     bool
	}{
		{"IP", ip, false}, {"User", uid, false}, {"Connection", connection, false},
		{"User_By_Method", uid, true}, {"Connection_By_Method", connection, true},
	}
	for _, s := range scopes {
		if s.key == "" {
			continue
		}
		if err := e.limitScope("DDP_Rate_Limit_"+s.setting, s.key, name, s.byMethod); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) limitScope(prefix, key, name string, byMethod bool) error {
	if !e.settingOn(prefix + "_Enabled") {
		return nil
	}
	calls := e.settingNum(prefix + "_Requests_Allowed")
	interval := time.Duration(e.settingNum(prefix+"_Interval_Time")) * time.Millisecond
	bucket := prefix + " " + key
	if byMethod {
		bucket += " " + name
		if isStream(name) {
			calls, interval = 4*calls, 4*interval
		}
	}
	now := time.Now()
	rest, ends := e.limits.take(bucket, calls, interval, now)
	if rest >= 0 {
		return nil
	}
	left := ends.Sub(now).Milliseconds()
	return meteorError("too-many-requests", fmt.Sprintf("Error, too many requests. Please slow down. "+
		"You must wait %d seconds before trying again.", left/1000+1)).with(Doc{"timeToReset": left})
}
