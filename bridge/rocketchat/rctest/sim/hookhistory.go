package sim

import (
	"cmp"
	"slices"
	"strings"
)

// Every call of an outgoing webhook is kept in the integration history with the
// text of the message, whether it arrives or not, until the history is cleared.

// hookBegun records that a call has started and returns the entry's id.
func (e *Engine) hookBegun(h hookCall) (id string) {
	data, _ := decodeDoc(h.payload, false)
	id = newObjectID()
	e.locked(func() {
		e.put(hookHistory, Doc{"_id": id, "type": "outgoing-webhook", "step": "start-execute-outgoing", "integration": h.hook,
			"event": "sendMessage", "_createdAt": e.now(), "data": data.without("token"), "url": h.url, "finished": false, "error": false})
	})
	return id
}

// hookEnded records the result of a call; status is 0 when there was no response.
func (e *Engine) hookEnded(id string, status int, body []byte, failed error) {
	changes := Doc{"step": "finished-execute-outgoing", "finished": true, "httpResult": string(body)}
	if failed != nil {
		changes = Doc{"step": "after-http-call", "finished": true, "error": true, "httpError": failed.Error()}
	} else if status >= 400 {
		changes["error"] = true
	}
	e.locked(func() {
		if d := e.get(hookHistory, id); d != nil { // it may have been cleared
			e.update(hookHistory, d, changes)
		}
	})
}

// integrationHistory is GET integrations.history: newest first.
func integrationHistory(c *call) (any, error) {
	l := c.e.historyOf(c.q.Get("id"))
	slices.Reverse(l)
	d := c.paged("history", l)
	return d.with(Doc{"items": d["count"]}), nil
}

func (e *Engine) historyOf(integration string) (l []Doc) {
	for _, d := range e.data.colls[hookHistory] {
		if d.doc("integration").id() == integration {
			l = append(l, d)
		}
	}
	slices.SortFunc(l, func(a, b Doc) int {
		return cmp.Or(a.time("_createdAt").Compare(b.time("_createdAt")), strings.Compare(a.id(), b.id()))
	})
	return l
}

// ddpClearHistory is clearIntegrationHistory(integrationId).
func ddpClearHistory(m *method) (any, error) {
	if !m.e.may(m.user, "manage-outgoing-integrations", "") {
		return nil, meteorError("not_authorized", "Unauthorized").in("clearIntegrationHistory")
	}
	if m.e.get(integrations, m.text(0)) == nil {
		return nil, meteorError("error-invalid-integration", "Invalid integration").in("clearIntegrationHistory")
	}
	m.e.clearHistory(m.text(0))
	return true, nil
}

func (e *Engine) clearHistory(integration string) {
	for _, d := range e.historyOf(integration) {
		e.remove(hookHistory, d.id())
	}
}
