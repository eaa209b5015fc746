package rctest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// A doc is a document as REST shows it.
type doc = map[string]any

func text(d doc, key string) string { s, _ := d[key].(string); return s }

// empty removes what other tests have left behind: webhooks, rooms, people, emoji.
func (r *real) empty(ctx context.Context) error {
	people, err := r.pages(ctx, "users.list", "users", nil)
	if err != nil {
		return err
	}
	if err := r.mayEmpty(people); err != nil {
		return err
	}
	hooks, err := r.pages(ctx, "integrations.list", "integrations", nil)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := r.post(ctx, "integrations.remove", doc{"type": h["type"], "integrationId": h["_id"]}); err != nil {
			return err
		}
	}
	if err := r.emptyRooms(ctx, "c", "p", "discussions"); err != nil {
		return err
	}
	for _, u := range people {
		if r.stays(u) {
			continue
		}
		if err := r.post(ctx, "users.delete", doc{"userId": u["_id"], "confirmRelinquish": true}); err != nil {
			return err
		}
	}
	if err := r.emptyRooms(ctx, "d"); err != nil { // of deleted people
		return err
	}
	return r.emptyEmoji(ctx)
}

// stays reports whether an account is one that every workspace has.
func (r *real) stays(u doc) bool {
	return slices.Contains([]string{r.admin.Username, "rocket.cat"}, text(u, "username"))
}

// mayEmpty refuses a workspace with people in it.
func (r *real) mayEmpty(people []doc) error {
	if os.Getenv("ROCKETCHAT_EMPTY") == "yes" {
		return nil
	}
	for _, u := range people {
		name := text(u, "username")
		made := name == BotName
		mails, _ := u["emails"].([]any)
		for _, m := range mails {
			address, _ := m.(map[string]any)["address"].(string)
			made = made || strings.HasSuffix(address, ".invalid")
		}
		if !made && !r.stays(u) {
			return fmt.Errorf("no test has made the account %q: tests remove everybody and everything but the administrator, "+
				"so name a workspace that may be thrown away, or set ROCKETCHAT_EMPTY=yes", name)
		}
	}
	return nil
}

// emptyRooms removes the rooms of the given types. #general stays.
func (r *real) emptyRooms(ctx context.Context, types ...string) error {
	rooms, err := r.pages(ctx, "rooms.adminRooms", "rooms", url.Values{"types[]": types})
	if err != nil {
		return err
	}
	slices.SortStableFunc(rooms, func(a, b doc) int { // rooms of a team before the team
		return strings.Compare(fmt.Sprint(a["teamMain"] == true), fmt.Sprint(b["teamMain"] == true))
	})
	for _, room := range rooms {
		switch {
		case room["_id"] == "GENERAL":
		case room["teamMain"] == true:
			err = r.post(ctx, "teams.delete", doc{"teamId": room["teamId"]})
		default:
			err = r.post(ctx, "rooms.delete", doc{"roomId": room["_id"]})
		}
		if e, ok := errors.AsType[*refusal](err); ok && strings.Contains(e.answer, "error-invalid-room") {
			continue // removed along with the room that it belonged to
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *real) emptyEmoji(ctx context.Context) error {
	var list struct {
		Emojis struct {
			Update []doc `json:"update"`
		} `json:"emojis"`
	}
	if err := r.call(ctx, r.admin, http.MethodGet, "emoji-custom.list", nil, &list); err != nil {
		return err
	}
	for _, e := range list.Emojis.Update {
		if err := r.post(ctx, "emoji-custom.delete", doc{"emojiId": e["_id"]}); err != nil {
			return err
		}
	}
	return nil
}

func (r *real) post(ctx context.Context, endpoint string, body doc) error {
	return r.call(ctx, r.admin, http.MethodPost, endpoint, body, nil)
}

// pages returns all entries of a list, as the administrator.
func (r *real) pages(ctx context.Context, endpoint, key string, q url.Values) ([]doc, error) {
	var all []doc
	for range 1000 {
		query := url.Values{"count": {"100"}, "offset": {fmt.Sprint(len(all))}}
		for k, v := range q {
			query[k] = v
		}
		var out map[string]any
		if err := r.call(ctx, r.admin, http.MethodGet, endpoint+"?"+query.Encode(), nil, &out); err != nil {
			return nil, err
		}
		page, _ := out[key].([]any)
		for _, d := range page {
			if d, ok := d.(map[string]any); ok {
				all = append(all, d)
			}
		}
		if len(page) < 100 {
			break
		}
	}
	return all, nil
}
