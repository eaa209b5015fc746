package rcside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// forbidden are the refusals, by code or by text, that mean "not as this user".
var forbidden = []string{"error-not-allowed", "not-allowed", "Not Allowed", "error-action-not-allowed", "unauthorized", "error-unauthorized"}

// missing are the refusals that mean "no such thing".
var missing = []string{"error-message-not-found", "error-room-not-found", "error-invalid-room", "error-user-not-in-room", "error-invalid-user", "error-user-not-found"}

// final are the refusals that no retry changes.
var final = []string{"room_is_archived", "error-room-archived", "room_is_blocked", "You_have_been_muted", "error-message-size-exceeded",
	"error-file-too-large", "error-invalid-file-type", "error-file-upload-disabled", "error-direct-message-file-upload-not-allowed",
	"error-field-unavailable", "error-input-is-not-a-valid-field", "error-license-user-limit-reached", "error-user-is-banned",
	"error-message-editing-blocked", "error-message-deleting-blocked",
	"You can't send messages because the room is readonly.", "invalid-params", "Name contains invalid characters"}

// prevented begins the codes with which Rocket.Chat reports that an app of the Apps-Engine does
// not allow something, such as error-app-prevented-sending.
const prevented = "error-app-prevented"

// depends matches the errors of Rocket.Chat's database and network drivers. It answers 400 with
// the text of whatever exception a request ended in, and without a code.
var depends = regexp.MustCompile(`(?i)mongo|topology|server selection|not primary|no primary|node is recovering|connection pool|interrupted|timed? ?out|ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|socket hang up|getaddrinfo`)

// codes are what Rocket.Chat's own refusals have as a code. A method that ends in an exception
// has 500 instead, and its file storage has sentences.
var codes = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// side translates an error of the client into an error of the relay.
func side(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e, ok := errors.AsType[*rocketchat.Error](err)
	switch {
	case errors.Is(err, rocketchat.ErrNoUpload):
		return fmt.Errorf("%w: %w", model.ErrRefused, err) // no server was contacted, so none is unavailable
	case errors.Is(err, model.ErrSlow), errors.Is(err, model.ErrRefused), errors.Is(err, model.ErrUnavailable), errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrForbidden),
		errors.Is(err, model.ErrUnclear), errors.Is(err, model.ErrBroken):
		return err // already translated, by a call further down
	case !ok, e.Status >= 500, e.Status == http.StatusUnauthorized:
		return fmt.Errorf("rocket.chat %w: %w", model.ErrUnavailable, err)
	case e.Status == http.StatusTooManyRequests, rocketchat.Says(err, "too-many-requests", "error-too-many-requests"):
		return &model.WaitError{After: max(e.RetryAfter, time.Second), Err: err}
	case rocketchat.Says(err, "restricted-workspace"):
		return fmt.Errorf("rocket.chat %w: %w", model.ErrUnavailable, err)
	case rocketchat.Says(err, missing...), strings.HasPrefix(e.Text, "No message found"), e.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", model.ErrNotFound, err)
	case rocketchat.Says(err, final...):
		return fmt.Errorf("%w: %w", model.ErrRefused, err)
	case strings.HasPrefix(e.Code, prevented):
		return fmt.Errorf("%w: %w", model.ErrPrevented, err)
	case rocketchat.Says(err, forbidden...), e.Status == http.StatusForbidden:
		return fmt.Errorf("%w: %w", model.ErrForbidden, err)
	case codes.MatchString(e.Code):
		return fmt.Errorf("%w: %w", model.ErrUnclear, err)
	case depends.MatchString(e.Text):
		return fmt.Errorf("rocket.chat %w: %w", model.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", model.ErrBroken, err)
}
