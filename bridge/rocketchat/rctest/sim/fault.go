package sim

import (
	"errors"
	"net/http"
	"strconv"
)

// A fault is an error response, in REST and in DDP.
type fault struct {
	status  int
	code    string // Meteor error code; empty for a plain Error
	text    string
	details Doc
	body    Doc    // the whole body, where the envelope differs
	page    string // HTML instead of JSON
}

func (f *fault) Error() string {
	if f.code == "" {
		return f.text
	}
	if f.text == "" {
		return "[" + f.code + "]"
	}
	return f.text + " [" + f.code + "]"
}

// meteorError is a Meteor.Error: a text and a code (facts 0.1).
func meteorError(code, text string) *fault {
	return &fault{status: http.StatusBadRequest, code: code, text: text}
}

func (f *fault) with(details Doc) *fault { f.details = details; return f }

// textError is a plain Error: free text and no code (facts 0.1, 12.6.33).
func textError(text string) *fault { return &fault{status: http.StatusBadRequest, text: text} }

func (e *Engine) forbidden() *fault {
	return &fault{status: http.StatusForbidden, text: e.rel.forbiddenText}
}

// unauthorizedCall is the refusal of the few endpoints that check a permission
// themselves and give no details.
func unauthorizedCall() *fault { return &fault{status: http.StatusForbidden, text: "unauthorized"} }

// in adds the name of the method that failed, as most methods do.
func (f *fault) in(method string) *fault {
	d := Doc{"method": method}
	f.details = d.with(f.details)
	return f
}

// notAllowed is the refusal of most methods.
func notAllowed(method string) *fault {
	return meteorError("error-not-allowed", "Not allowed").in(method)
}

// noPermission is the refusal of an endpoint's own permission check.
func noPermission() *fault {
	return &fault{status: http.StatusForbidden,
		text: "User does not have the permissions required for this action [error-unauthorized]"}
}

func (e *Engine) notLoggedIn() *fault {
	const text = "You must be logged in to do this."
	body := Doc{"status": "error", "message": text}
	if e.rel.refusesPlainly {
		body = body.with(Doc{"success": false, "error": text})
	}
	return &fault{status: http.StatusUnauthorized, body: body}
}

// rest returns the response body of a fault.
func (f *fault) rest() Doc {
	if f.body != nil {
		return f.body
	}
	d := Doc{"success": false, "error": f.Error()}
	if f.code != "" {
		d["errorType"] = f.code
	}
	if f.details != nil {
		d["details"] = f.details
	}
	return d
}

// ddp is the error object of a method result or a nosub (facts 7.1).
func (f *fault) ddp() Doc {
	if f.code == "" {
		return Doc{"isClientSafe": true, "error": 500, "reason": "Internal server error",
			"message": "Internal server error [500]", "errorType": "Meteor.Error"}
	}
	d := Doc{"isClientSafe": true, "error": f.code, "reason": f.text, "message": f.Error(), "errorType": "Meteor.Error"}
	if n, err := strconv.Atoi(f.code); err == nil && n != 404 {
		d["error"] = n // these are numbers in Meteor's own errors
	}
	if f.details != nil {
		d["details"] = f.details
	}
	return d
}

// asFault turns any error into a fault.
func asFault(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	return &fault{status: http.StatusInternalServerError, text: err.Error()}
}
