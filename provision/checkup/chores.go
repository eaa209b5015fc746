package checkup

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"appliance/provision/doctor"
	"appliance/provision/finding"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/site"
)

// Note records the result of a chore that may run unattended, one of doctor's Chore constants:
// the doctor reports a failure until the chore succeeds. It returns what the doctor will say.
func Note(s *site.Site, chore string, err error) (finding.Finding, error) {
	failed := failures(s)
	_, known := failed[chore]
	if err == nil && !known {
		return finding.Good("%s succeeded", chore), nil
	}
	delete(failed, chore)
	f := finding.Good("%s succeeded again", chore)
	if err != nil {
		failed[chore] = failure(err, time.Now())
		f = doctor.Failed(chore, failed[chore])
	}
	data, encodeErr := json.Marshal(failed)
	return f, errors.Join(encodeErr, atomicfile.Write(s.Path(site.ChoresFile), data, 0o600))
}

// mostReason is how many bytes of an error are recorded.
const mostReason = 500

func failure(err error, now time.Time) doctor.ChoreFailure {
	f := doctor.ChoreFailure{At: now.UTC().Truncate(time.Second), Reason: strings.ReplaceAll(err.Error(), "\n", "; ")}
	if len(f.Reason) > mostReason {
		f.Reason = strings.ToValidUTF8(f.Reason[:mostReason], "") + "..."
	}
	if hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		f.Hint = hinted.Hint()
	}
	return f
}

// failures returns the chores whose last run failed. An unreadable file is ignored.
func failures(s *site.Site) map[string]doctor.ChoreFailure {
	out := map[string]doctor.ChoreFailure{}
	if data, err := os.ReadFile(s.Path(site.ChoresFile)); err != nil || json.Unmarshal(data, &out) != nil || out == nil {
		return map[string]doctor.ChoreFailure{}
	}
	return out
}

// AlarmOf notifies the operator of one finding, separately and at once, unless it was already
// reported. The doctor does not report it again. It returns whether a message was sent.
func AlarmOf(ctx context.Context, s *site.Site, f finding.Finding) (sent bool, err error) {
	was := lastTold(s)
	news := notice{f.Check, f.Severity.String()}
	if f.Severity == finding.OK || slices.Contains(was.Notices, news) {
		return false, nil
	}
	others := slices.DeleteFunc(slices.Clone(was.Notices), func(n notice) bool { return n.Check == f.Check })
	return tell(ctx, s, []finding.Finding{f}, append(others, news), was, time.Now())
}
