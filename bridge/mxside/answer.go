package mxside

import (
	"encoding/json"
	"net/http"
)

// answer writes a response: an error if code is set, otherwise an empty object.
func answer(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := map[string]string{}
	if code != "" {
		body = map[string]string{"errcode": code, "error": text}
	}
	_ = json.NewEncoder(w).Encode(body)
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, "M_NOT_FOUND", "there is no such thing")
}
