package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Outgoing webhooks (facts 8.4), for the event sendMessage only. Delivery is fire
// and forget, in no order, and network errors are not retried.

const integrationShape = "type!:s name:s enabled!:b username!:s event:s channel:s urls:l scriptEnabled!:b script:s " +
	"triggerWords:l triggerWordAnywhere:b token:s runOnEdits:b retryFailedCalls:b retryCount:n retryDelay:s " +
	"impersonateUser:b targetRoom:s alias:s avatar:s emoji:s"

// integrationCreate is POST integrations.create.
func integrationCreate(c *call) (any, error) {
	if err := c.e.integrationProblem(c.user, c.body); err != nil {
		return nil, err
	}
	d := c.e.put(integrations, c.body.with(Doc{"_id": newObjectID(), "token": firstText(c.body.str("token"), newToken()[:24]),
		"scriptEngine": "isolated-vm", "userId": c.e.userNamed(c.body.str("username")).id(), "_createdBy": c.user.only("_id", "username"),
		"_createdAt": c.e.now(), "channel": commas(c.body.str("channel"))}))
	if c.e.rel.roomFields {
		d = d.without("_updatedAt")
	}
	return Doc{"integration": d}, nil
}

func (e *Engine) integrationProblem(u, b Doc) error {
	switch {
	case !e.may(u, "manage-outgoing-integrations", "") && !e.may(u, "manage-own-outgoing-integrations", ""):
		return noPermission()
	case b.str("type") != "webhook-outgoing":
		return textError("Invalid integration type.")
	case b.str("event") != "sendMessage":
		return meteorError("error-invalid-event-type", "Invalid event type")
	case e.userNamed(b.str("username")) == nil:
		return meteorError("error-invalid-user", "Invalid user")
	case len(b.strs("urls")) == 0:
		return meteorError("error-invalid-urls", "Invalid URLs")
	case b.str("channel") == "":
		return meteorError("error-invalid-channel", "Invalid Channel")
	}
	for _, ch := range commas(b.str("channel")) {
		if !strings.HasPrefix(ch, "all_") && !strings.HasPrefix(ch, "#") && !strings.HasPrefix(ch, "@") {
			return meteorError("error-invalid-channel-start-with-chars", "Invalid channel. Start with @ or #")
		}
		if name, ok := strings.CutPrefix(ch, "#"); ok && e.roomNamed(name) == nil {
			return meteorError("error-invalid-channel", "Invalid Channel")
		}
	}
	return nil
}

// integrationList is GET integrations.list, integrationGet GET integrations.get.
func integrationList(c *call) (any, error) {
	d := c.paged("integrations", c.e.listed(integrations, "name"))
	return d.with(Doc{"items": d["count"]}), nil
}

func integrationGet(c *call) (any, error) {
	d := c.e.get(integrations, c.q.Get("integrationId"))
	if d == nil {
		return nil, textError("The integration does not exists.")
	}
	return Doc{"integration": d}, nil
}

// integrationUpdate is PUT integrations.update.
func integrationUpdate(c *call) (any, error) {
	d := c.e.get(integrations, c.body.str("integrationId"))
	if d == nil {
		return nil, textError("No integration found.")
	}
	if !c.e.may(c.user, "manage-outgoing-integrations", "") {
		return nil, meteorError("error-invalid-channel", "Invalid Channel").with(
			Doc{"function": "validateOutgoing._verifyUserHasPermissionForChannels"})
	}
	if err := c.e.integrationProblem(c.user, c.body); err != nil {
		return nil, err
	}
	changes := c.body.without("integrationId").with(Doc{"channel": commas(c.body.str("channel")), "_updatedBy": c.user.only("_id", "username")})
	d = c.e.update(integrations, d, changes)
	if c.e.rel.nullsUnset {
		d = d.with(nil)
		for _, k := range []string{"avatar", "emoji", "alias", "targetRoom", "impersonateUser", "script", "scriptError", "triggerWords",
			"triggerWordAnywhere", "runOnEdits"} {
			if !d.has(k) {
				d[k] = json.RawMessage("null")
			}
		}
	}
	return Doc{"integration": d}, nil
}

// integrationRemove is POST integrations.remove. It removes the integration's history too.
func integrationRemove(c *call) (any, error) {
	d := c.e.get(integrations, c.body.str("integrationId"))
	if d == nil {
		return nil, textError("No integration found.")
	}
	c.e.remove(integrations, d.id())
	c.e.clearHistory(d.id())
	return Doc{"integration": d}, nil
}

// A hookCall is one message on its way to one URL.
type hookCall struct {
	hook    Doc
	url     string
	payload []byte
	rid     string
}

// callHooks queues a message for every hook that matches: all rooms of the named
// kinds, authors of all kinds, regardless of membership (facts 8.4).
func (e *Engine) callHooks(r, m Doc, edited bool) {
	for _, h := range e.listed(integrations, "_id") {
		if !h.flag("enabled") || edited && !h.flag("runOnEdits") || !hookCovers(h, r) {
			continue
		}
		word, ok := triggerWord(h, m.str("msg"))
		if !ok {
			continue
		}
		payload := e.hookPayload(h, r, m, word, edited)
		for _, u := range h.strs("urls") {
			e.hooks = append(e.hooks, hookCall{h, u, payload, r.id()})
		}
	}
}

func hookCovers(h, r Doc) bool {
	kind := map[string]string{"c": "all_public_channels", "p": "all_private_groups", "d": "all_direct_messages"}[r.str("t")]
	l := h.strs("channel")
	return slices.Contains(l, kind) || r.str("name") != "" && slices.Contains(l, "#"+r.str("name"))
}

func triggerWord(h Doc, text string) (word string, ok bool) {
	words := h.strs("triggerWords")
	for _, w := range words {
		if strings.HasPrefix(text, w) || h.flag("triggerWordAnywhere") && strings.Contains(text, w) {
			return w, true
		}
	}
	return "", len(words) == 0
}

func (e *Engine) hookPayload(h, r, m Doc, word string, edited bool) []byte {
	d := Doc{"token": h.str("token"), "bot": m.has("bot"), "channel_id": r.id(), "channel_name": r["name"], "message_id": m.id(),
		"timestamp": m["ts"], "user_id": m.doc("u").id(), "user_name": m.doc("u").str("username"), "text": m.str("msg"),
		"siteUrl": e.siteURL()}.with(m.only("alias", "tmid"))
	if word != "" {
		d["trigger_word"] = word
	}
	if edited {
		d["isEdited"] = true
	}
	return restJSON(d)
}

// startHooks sends the hooks that the running request has queued, once it is on disk.
func (e *Engine) startHooks(seq uint64) {
	for _, h := range e.hooks {
		e.wg.Go(func() {
			if e.journal.wait(seq) == nil {
				e.deliverHook(e.ctx, h)
			}
		})
	}
	e.hooks = nil
}

// deliverHook tries until a response settles it.
func (e *Engine) deliverHook(ctx context.Context, h hookCall) {
	entry := e.hookBegun(h)
	for try := 0; ; try++ {
		status, body, err := postHook(ctx, h)
		e.hookEnded(entry, status, body, err)
		if err != nil {
			return // network errors are not retried
		}
		switch {
		case (status == 200 || status == 201 || status == 202) && len(body) > 0:
			e.hookSaid(h, body)
			return
		case status == http.StatusGone && len(body) > 0:
			e.locked(func() { e.update(integrations, h.hook, Doc{"enabled": false}) })
			return
		case status == http.StatusInternalServerError && len(body) > 0:
			return
		}
		if !h.hook.flag("retryFailedCalls") || try >= h.hook.num("retryCount") {
			return
		}
		select {
		case <-time.After(hookDelay(h.hook.str("retryDelay"), try)):
		case <-ctx.Done():
			return
		}
	}
}

func hookDelay(kind string, try int) time.Duration {
	switch kind {
	case "powers-of-two":
		return time.Duration(math.Pow(2, float64(try+1))) * time.Second
	case "increments-of-two":
		return time.Duration(2*(try+1)) * time.Second
	}
	return time.Duration(math.Pow(10, float64(try))) * 100 * time.Millisecond
}

// hookClient keeps no connections, so that nothing outlives an Engine.
var hookClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func postHook(ctx context.Context, h hookCall) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(h.payload))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) rocketsim")
	resp, err := hookClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

// hookSaid posts the response as a message when it has a text or attachments.
func (e *Engine) hookSaid(h hookCall, body []byte) {
	d, err := decodeDoc(body, false)
	if err != nil || d.str("text") == "" && len(d.docs("attachments")) == 0 {
		return
	}
	e.locked(func() {
		u, r := e.userNamed(h.hook.str("username")), e.room(h.rid)
		if u != nil && r != nil {
			e.insertMessage(u, r, Doc{"msg": d.str("text"), "bot": Doc{"i": h.hook.id()}}.with(d.only("attachments")))
		}
	})
}
