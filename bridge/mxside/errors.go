package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix"

	"appliance/bridge/relay/model"
)

// side translates an error of the client into the relay's terms.
func side(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	he, ok := errors.AsType[mautrix.HTTPError](err)
	if !ok || he.Response == nil {
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, plain(err))
	}
	text := plain(err)
	switch status := he.Response.StatusCode; {
	case status/100 == 2: // the rest of the response is lost, and with it the outcome of the request
		return fmt.Errorf("the homeserver %w: its answer ended early", model.ErrUnavailable)
	case status == http.StatusBadRequest && he.RespError != nil && ownFailure(he.RespError):
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, text)
	case status == http.StatusTooManyRequests:
		return &model.WaitError{After: retryAfter(he), Err: text}
	case status >= 500, status == http.StatusUnauthorized:
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, text)
	case status == http.StatusForbidden:
		return fmt.Errorf("%w: %w", model.ErrForbidden, text)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", model.ErrNotFound, text)
	}
	return fmt.Errorf("%w: %w", model.ErrRefused, text)
}

// failures are phrases from a homeserver that has lost its database or run out of time.
var failures = []string{
	"dial tcp", "connection refused", "connection reset", "broken pipe", "bad connection", "i/o timeout", "unexpected EOF",
	"context canceled", "context deadline exceeded", "pq: ", "sql: ",
}

// ownFailure reports whether a refusal is not about the request: Dendrite (0.15) answers
// requests that change a membership with 400 M_UNKNOWN and the error of its database.
func ownFailure(refusal *mautrix.RespError) bool {
	return refusal.ErrCode == "M_UNKNOWN" && slices.ContainsFunc(failures, func(words string) bool { return strings.Contains(refusal.Err, words) })
}

// notFetched reports whether a 404 is not about the file. Dendrite (0.15) also gives that
// response when the server that has the file does not respond (mediaapi/routing/download.go),
// and says in its text if that server reported that it does not have the file.
func notFetched(status int, text string) bool {
	return status == http.StatusNotFound && strings.HasPrefix(text, "Failed to download: ") && !strings.Contains(text, "does not exist on")
}

// plain keeps the homeserver's part of an error and drops the request, which
// contains tokens and names.
func plain(err error) error {
	he, ok := errors.AsType[mautrix.HTTPError](err)
	switch {
	case !ok:
		if ue, ok := errors.AsType[*url.Error](err); ok {
			return ue.Err
		}
		return err
	case he.RespError != nil:
		return fmt.Errorf("%d %s: %s", he.Response.StatusCode, he.RespError.ErrCode, he.RespError.Err)
	case he.Response != nil:
		return fmt.Errorf("status %d", he.Response.StatusCode)
	case he.WrappedError != nil:
		return plain(he.WrappedError)
	}
	return errors.New(he.Message)
}

func retryAfter(he mautrix.HTTPError) time.Duration {
	if he.RespError != nil {
		if ms, ok := he.RespError.ExtraData["retry_after_ms"].(float64); ok && ms > 0 {
			return min(time.Duration(ms)*time.Millisecond, 10*time.Minute)
		}
	}
	return time.Second
}

// errUnrecognized: the homeserver does not know this path.
var errUnrecognized = errors.New("the homeserver does not know this request")

// refusal translates an unsuccessful response into the relay's terms.
func refusal(res *http.Response) error {
	if res.StatusCode/100 == 2 {
		return nil
	}
	var said struct {
		Code  string `json:"errcode"`
		Text  string `json:"error"`
		Retry int64  `json:"retry_after_ms"`
	}
	_ = json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&said)
	text := fmt.Errorf("%d %s: %s", res.StatusCode, said.Code, said.Text)
	switch status := res.StatusCode; {
	case said.Code == "M_UNRECOGNIZED", status == http.StatusNotFound && said.Code == "":
		return fmt.Errorf("%w: %w", errUnrecognized, text)
	case status == http.StatusTooManyRequests:
		return &model.WaitError{After: max(time.Second, min(time.Duration(said.Retry)*time.Millisecond, 10*time.Minute)), Err: text}
	case status == http.StatusRequestEntityTooLarge, said.Code == "M_TOO_LARGE":
		return fmt.Errorf("%w: %w", model.ErrTooLarge, text)
	case status >= 500, status == http.StatusUnauthorized, said.Code == "M_NOT_YET_UPLOADED", notFetched(status, said.Text):
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, text)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", model.ErrNotFound, text)
	}
	return fmt.Errorf("%w: %w", model.ErrRefused, text)
}
