package bridge

import (
	"encoding/json"
	"errors"
	"net/http"

	"appliance/bridge/store"
)

// maxBuried bounds how many given-up items are listed, or tried again, at once.
const maxBuried = 1000

// buried serves GET /buried: what was given up and why, without what it says.
func (s *service) buried(w http.ResponseWriter, r *http.Request) {
	list, err := s.store.GivenUp(r.Context(), maxBuried)
	if err != nil {
		http.Error(w, "the database does not answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// retryBuried serves POST /buried/retry {"ids": […]}: the items wait again, behind
// what waits in their rooms; no ids are all.
func (s *service) retryBuried(w http.ResponseWriter, r *http.Request) {
	var in struct {
		IDs []string `json:"ids"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		http.Error(w, "the body is not JSON", http.StatusBadRequest)
		return
	}
	if len(in.IDs) == 0 {
		list, err := s.store.GivenUp(r.Context(), maxBuried)
		if err != nil {
			http.Error(w, "the database does not answer", http.StatusInternalServerError)
			return
		}
		for _, b := range list {
			in.IDs = append(in.IDs, b.ID)
		}
	}
	out := struct {
		Retried []string `json:"retried"`
		Unknown []string `json:"unknown"`
	}{Retried: []string{}, Unknown: []string{}}
	for _, id := range in.IDs {
		switch err := s.store.Unbury(r.Context(), id); {
		case errors.Is(err, store.ErrNotBuried):
			out.Unknown = append(out.Unknown, id)
		case err != nil:
			http.Error(w, "the database does not answer", http.StatusInternalServerError)
			return
		default:
			out.Retried = append(out.Retried, id)
			s.Log.Info("an item that was given up is tried again", "item", id)
		}
	}
	s.relay.Wake()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
