package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	// maxListing bounds how much is read of a list that other servers fill: the state
	// of a room, or its members.
	maxListing = 64 << 20
	// maxMembers bounds the members of a room that are kept.
	maxMembers = 50_000
)

// errEnough ends the reading of a list early.
var errEnough = errors.New("enough was read")

// list reads a list element by element, so that its size costs no memory: GET path as
// one of our users. The list is the response itself, or its field named key. each may
// return errEnough. A list that is cut off at maxListing is not an error.
func list(ctx context.Context, c *client, as ids.MXUser, key string, path mautrix.ClientURLPath, each func(json.RawMessage) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.as(as).BuildURLWithQuery(path, map[string]string{"user_id": string(as)}), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", model.ErrRefused, plain(err))
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	res, err := c.http.Do(req)
	if err != nil {
		return side(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := listRefusal(res); err != nil {
		return err
	}
	body := &io.LimitedReader{R: res.Body, N: maxListing}
	switch err := elements(json.NewDecoder(body), key, each); {
	case err == nil, errors.Is(err, errEnough):
		return nil
	case body.N <= 0:
		c.log.Warn("a list from the homeserver was truncated", "path", fmt.Sprint(path...), "limit", maxListing)
		return nil
	default:
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, err)
	}
}

// listRefusal is refusal for requests that are not about media, with their errors.
func listRefusal(res *http.Response) error {
	switch err := refusal(res); {
	case err == nil:
		return nil
	case res.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %w", model.ErrForbidden, err)
	case errors.Is(err, errUnrecognized):
		return fmt.Errorf("%w: %w", model.ErrNotFound, err)
	default:
		return err
	}
}

// elements hands over the elements of a list one by one.
func elements(dec *json.Decoder, key string, each func(json.RawMessage) error) error {
	if key != "" {
		if err := enter(dec, key); err != nil {
			return err
		}
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(err, errors.New("the answer holds no list"))
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if err := each(raw); err != nil {
			return err
		}
	}
	return nil
}

// enter advances to the value of a field of an object.
func enter(dec *json.Decoder, key string) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(err, errors.New("the answer is no object"))
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		if name == key {
			return nil
		}
		var other json.RawMessage
		if err := dec.Decode(&other); err != nil {
			return err
		}
	}
	return fmt.Errorf("the answer lacks %q", key)
}
