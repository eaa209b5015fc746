package sim

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// visible returns the messages of a room, oldest first, without history copies.
func (e *Engine) visible(rid string) []Doc {
	l := make([]Doc, 0, len(e.data.inRoom[rid]))
	for _, m := range e.data.inRoom[rid] {
		if !m.flag("_hidden") {
			l = append(l, m)
		}
	}
	return l
}

// chatSync is GET chat.syncMessages in both forms (facts 4.4).
func chatSync(c *call) (any, error) {
	q := c.q
	rid := q.Get("roomId")
	if rid == "" {
		return nil, meteorError("error-param-required", "The required \"roomId\" query param is missing")
	}
	next, previous, kind := q.Get("next"), q.Get("previous"), q.Get("type")
	switch {
	case q.Has("lastUpdate") && (next != "" || previous != ""):
		return nil, meteorError("error-cursor-and-lastUpdate-conflict", "The attributes \"next\", \"previous\" and \"lastUpdate\" cannot be used together")
	case next != "" && previous != "":
		return nil, meteorError("error-cursor-conflict", "You cannot provide both \"next\" and \"previous\" parameters")
	case (next != "" || previous != "") && kind == "":
		return nil, meteorError("error-type-param-required", "The \"type\" parameter is required when using the \"next\" or \"previous\" parameters")
	case kind != "" && kind != "UPDATED" && kind != "DELETED":
		return nil, meteorError("error-type-param-not-supported", "The \"type\" parameter must be either \"UPDATED\" or \"DELETED\"")
	case !q.Has("lastUpdate") && kind == "":
		return nil, meteorError("error-param-required", "The required \"type\" or \"lastUpdate\" query param is missing")
	case q.Has("lastUpdate") && c.timeParam("lastUpdate").IsZero():
		return nil, meteorError("error-lastUpdate-param-invalid", "The \"lastUpdate\" query parameter must be a valid date")
	case !c.e.canRead(c.e.room(rid), c.user):
		return nil, notAllowed("messages/get")
	}
	if q.Has("lastUpdate") {
		return Doc{"result": c.e.syncSince(rid, c.timeParam("lastUpdate"))}, nil
	}
	return Doc{"result": c.syncCursor(rid, kind, next, previous)}, nil
}

// syncSince is the unpaginated form: strictly later, newest first.
func (e *Engine) syncSince(rid string, since time.Time) Doc {
	updated := e.changedMessages(rid)
	updated = slices.DeleteFunc(updated, func(m Doc) bool { return !m.time("_updatedAt").After(since) })
	slices.Reverse(updated)
	deleted := []Doc{}
	for _, d := range e.data.gone[rid] {
		if d.time("_deletedAt").After(since) {
			deleted = append(deleted, d.only("_id", "_deletedAt"))
		}
	}
	return Doc{"updated": updated, "deleted": deleted}
}

// changedMessages orders a room's messages by _updatedAt, oldest first.
func (e *Engine) changedMessages(rid string) []Doc {
	l := e.visible(rid)
	slices.SortStableFunc(l, func(a, b Doc) int { return a.time("_updatedAt").Compare(b.time("_updatedAt")) })
	return l
}

// syncCursor is the cursor form (7.1+): strictly beyond the cursor, ascending
// with next, descending with previous; cursors are strings of milliseconds.
func (c *call) syncCursor(rid, kind, next, previous string) Doc {
	key, field, l := "updated", "_updatedAt", []Doc(nil)
	if kind == "DELETED" {
		key, field = "deleted", "_deletedAt"
		for _, d := range c.e.data.gone[rid] {
			l = append(l, d.only("_id", "_deletedAt"))
		}
	} else {
		l = c.e.changedMessages(rid)
	}
	if next == "" {
		slices.Reverse(l) // with previous, and as plain history when only type is given
	}
	at := parseTime(firstText(next, previous))
	l = slices.DeleteFunc(l, func(d Doc) bool {
		return next != "" && !d.time(field).After(at) || previous != "" && !d.time(field).Before(at)
	})
	count := max(atoi(c.q.Get("count"), 20), 1)
	page := l[:min(count, len(l))]
	cursor := Doc{"next": any(nil), "previous": any(nil)}
	if len(page) > 0 {
		last, first := millis(page[len(page)-1].time(field)), millis(page[0].time(field))
		more := len(l) > len(page)
		if previous != "" {
			last, first = first, last
			cursor["previous"] = orNull(more, first)
			cursor["next"] = last
		} else {
			cursor["next"] = orNull(more, last)
			cursor["previous"] = first
		}
	}
	d := Doc{key: slices.Clone(page), "cursor": cursor}
	if c.e.rel.bothLists {
		d = Doc{"updated": []any{}, "deleted": []any{}}.with(d)
	}
	return d
}

func orNull(ok bool, s string) any {
	if ok {
		return s
	}
	return nil
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// roomHistory is GET channels.history, groups.history, im.history and their
// messages forms: newest first (facts 6.4).
func roomHistory(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	if !c.e.canRead(r, c.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	latest, oldest := c.timeParam("latest"), c.timeParam("oldest")
	if latest.IsZero() {
		latest = time.Now().Add(time.Minute)
	}
	l := c.e.visible(r.id())
	inclusive, threads := c.q.Get("inclusive") == "true", c.q.Get("showThreadMessages") != "false"
	l = slices.DeleteFunc(l, func(m Doc) bool {
		t := m.time("ts")
		inside := t.After(oldest) && t.Before(latest) || inclusive && (t.Equal(oldest) || t.Equal(latest))
		return !inside || !threads && m.str("tmid") != "" && !m.flag("tshow")
	})
	slices.Reverse(l)
	count, offset := atoi(c.q.Get("count"), 20), atoi(c.q.Get("offset"), 0)
	total := len(l)
	l = l[min(offset, len(l)):]
	d := Doc{"messages": l[:min(count, len(l))]}
	if c.e.rel.historyCounts {
		d = d.with(Doc{"count": min(count, len(l)), "offset": offset, "total": total})
	}
	return d, nil
}

// roomMessages is GET channels.messages, groups.messages and im.messages.
func roomMessages(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	if !c.e.canRead(r, c.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	l := c.e.visible(r.id())
	slices.Reverse(l)
	return c.paged("messages", l), nil
}

// threadMessages is GET chat.getThreadMessages: oldest first.
func threadMessages(c *call) (any, error) {
	root := c.e.message(c.q.Get("tmid"))
	if root == nil || !c.e.canRead(c.e.room(root.str("rid")), c.user) {
		return nil, meteorError("error-not-allowed", "Not Allowed")
	}
	var l []Doc
	for _, m := range c.e.visible(root.str("rid")) {
		if m.str("tmid") == root.id() {
			l = append(l, m)
		}
	}
	return c.paged("messages", l), nil
}

// threadsList is GET chat.getThreadsList.
func threadsList(c *call) (any, error) {
	r := c.e.room(c.q.Get("rid"))
	if !c.e.canRead(r, c.user) {
		return nil, meteorError("error-not-allowed", "Not Allowed")
	}
	var l []Doc
	for _, m := range c.e.visible(r.id()) {
		if m.num("tcount") > 0 {
			l = append(l, m)
		}
	}
	slices.Reverse(l)
	return c.paged("threads", l), nil
}

// threadsSince is GET chat.syncThreadsList, threadSince GET chat.syncThreadMessages:
// what changed since updatedSince.
func threadsSince(c *call) (any, error) {
	return c.changed(c.q.Get("rid"), "threads", func(m Doc) bool { return m.num("tcount") > 0 })
}

func threadSince(c *call) (any, error) {
	root := c.e.message(c.q.Get("tmid"))
	return c.changed(root.str("rid"), "messages", func(m Doc) bool { return m.str("tmid") == root.id() })
}

func (c *call) changed(rid, key string, fits func(Doc) bool) (any, error) {
	if !c.e.canRead(c.e.room(rid), c.user) {
		return nil, meteorError("error-not-allowed", "Not Allowed")
	}
	since := c.timeParam("updatedSince")
	l := slices.DeleteFunc(c.e.changedMessages(rid), func(m Doc) bool { return !fits(m) || !m.time("_updatedAt").After(since) })
	gone := c.e.syncSince(rid, since)["deleted"]
	return Doc{key: Doc{"update": l, "remove": gone}}, nil
}

// deletedMessages is GET chat.getDeletedMessages.
func deletedMessages(c *call) (any, error) {
	r := c.e.room(c.q.Get("roomId"))
	if !c.e.canRead(r, c.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	since := c.timeParam("since")
	var l []Doc
	for _, d := range c.e.data.gone[r.id()] {
		if d.time("_deletedAt").After(since) {
			l = append(l, d.only("_id"))
		}
	}
	return c.paged("messages", l), nil
}

// chatSearch is GET chat.search.
func chatSearch(c *call) (any, error) {
	r := c.e.room(c.q.Get("roomId"))
	if !c.e.canRead(r, c.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	text := c.q.Get("searchText")
	match := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(text)) }
	if re, err := regexp.Compile("(?i)" + strings.Trim(text, "/")); err == nil && strings.HasPrefix(text, "/") {
		match = re.MatchString
	}
	var l []Doc
	for _, m := range c.e.visible(r.id()) {
		if m.str("t") == "" && match(m.str("msg")) {
			l = append(l, m)
		}
	}
	slices.Reverse(l)
	return Doc{"messages": c.paged("m", l)["m"]}, nil
}
