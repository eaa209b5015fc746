package rocketchat

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// History calls channels.history, groups.history or im.history and returns the
// last messages of a room, oldest first: at most last of them, and none from
// before since. System messages count and are included.
func (c *Client) History(ctx context.Context, roomType, rid string, last int, since time.Time) ([]Message, error) {
	var all []Message // newest first
	seen := map[string]bool{}
	latest, count := time.Now().Add(24*time.Hour), page // whatever the server's clock says
	for len(all) < last {
		q := url.Values{
			"roomId": {rid}, "count": {strconv.Itoa(count)}, "inclusive": {"true"}, "showThreadMessages": {"true"},
			"latest": {latest.UTC().Format("2006-01-02T15:04:05.000Z")},
		}
		if !since.IsZero() {
			q.Set("oldest", since.UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		var out struct {
			Messages []Message `json:"messages"`
		}
		if err := c.get(ctx, family(roomType)+".history", q, &out); err != nil {
			return nil, err
		}
		slices.SortStableFunc(out.Messages, func(a, b Message) int { return b.Time.Compare(a.Time.Time) })
		fresh := 0
		for _, m := range out.Messages {
			if !seen[m.ID] && len(all) < last && !m.Time.Before(since) {
				seen[m.ID] = true
				all = append(all, m)
				fresh++
			}
		}
		switch {
		case len(out.Messages) < count:
			last = len(all) // there is no more
		case fresh > 0:
			latest, count = out.Messages[len(out.Messages)-1].Time.Time, page
		case count < most: // one millisecond holds more than a page
			count *= 2
		default:
			latest = latest.Add(-time.Millisecond)
		}
	}
	slices.Reverse(all)
	return all, nil
}
