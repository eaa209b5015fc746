package sim

import (
	"net/http"
	"strconv"
)

// A fault is an answer that says no, in REST and in DDP.
type fault struct {
	status  int
	code    string // Meteor error code; empty for a plain Error
	text    string
	details Doc
	body    Doc // the whole body, where the envelope is another one
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

func forbidden() *fault { return &fault{status: http.StatusForbidden, text: "forbidden"} }

func notFound(text string) *fault { return &fault{status: http.StatusNotFound, text: text} }

// noPermission is the refusal of an endpoint's own permission check.
func noPermission() *fault {
	return &fault{status: http.StatusForbidden,
		text: "User does not have the permissions required for this action [error-unauthorized]"}
}

func notLoggedIn() *fault {
	return &fault{status: http.StatusUnauthorized,
		body: Doc{"success": false, "status": "error", "message": "You must be logged in to do this."}}
}

// rest is the answer body of a fault.
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
	if n, err := strconv.Atoi(f.code); err == nil {
		d["error"] = n
	}
	if f.details != nil {
		d["details"] = f.details
	}
	return d
}

// asFault makes a fault of any error.
func asFault(err error) *fault {
	if f, ok := err.(*fault); ok {
		return f
	}
	return &fault{status: http.StatusInternalServerError, text: err.Error()}
}
