package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"appliance/bridge/store"
)

const (
	// maxListed bounds how many lanes or dead letters one response lists.
	maxListed = 1000
	// maxAll bounds how many dead letters "all" selects.
	maxAll = 100_000
)

// Lanes is the response of GET /queue.
type Lanes struct {
	Waiting     int64             `json:"waiting"`
	DeadLetters int64             `json:"dead_letters"`
	Lanes       []store.LaneState `json:"lanes"`
}

// queuePages serves what the operator can see and do in the queue.
type queuePages struct {
	store *store.Store
	log   *slog.Logger
	wake  func() // wakes the workers: there is something to deliver
}

// lanes serves GET /queue: the lanes with waiting items, oldest item first.
func (s *queuePages) lanes(w http.ResponseWriter, r *http.Request) {
	b, err := s.store.Backlog(r.Context())
	if err != nil {
		noDatabase(w)
		return
	}
	list, err := s.store.Lanes(r.Context(), maxListed)
	if err != nil {
		noDatabase(w)
		return
	}
	answerJSON(w, Lanes{Waiting: b.Waiting, DeadLetters: b.Dead, Lanes: list})
}

// deadLetters serves GET /queue/dead: the dead letters and their causes, without content.
func (s *queuePages) deadLetters(w http.ResponseWriter, r *http.Request) {
	list, err := s.store.DeadLetters(r.Context(), maxListed)
	if err != nil {
		noDatabase(w)
		return
	}
	answerJSON(w, list)
}

// deadLettersOfOld serves GET /buried, the name of GET /queue/dead in earlier releases.
func (s *queuePages) deadLettersOfOld(w http.ResponseWriter, r *http.Request) {
	list, err := s.store.DeadLetters(r.Context(), maxListed)
	if err != nil {
		noDatabase(w)
		return
	}
	type old struct {
		store.DeadLetter
		Buried time.Time `json:"buried"`
	}
	out := make([]old, len(list))
	for i, d := range list {
		out[i] = old{d, d.GaveUp}
	}
	answerJSON(w, out)
}

// Chosen is the body of a request about dead letters: some by their IDs, or all.
type Chosen struct {
	IDs []string `json:"ids"`
	All bool     `json:"all"`
}

// retryDead serves POST /queue/dead/retry: the items wait again, at the end of their
// lanes.
func (s *queuePages) retryDead(w http.ResponseWriter, r *http.Request) {
	done, unknown, ok := s.eachDead(w, r, false, "a dead letter is tried again", s.store.Revive)
	if !ok {
		return
	}
	s.wake()
	answerJSON(w, map[string][]string{"retried": done, "unknown": unknown})
}

// retryDeadOfOld serves POST /buried/retry, where no IDs means all.
func (s *queuePages) retryDeadOfOld(w http.ResponseWriter, r *http.Request) {
	done, unknown, ok := s.eachDead(w, r, true, "a dead letter is tried again", s.store.Revive)
	if !ok {
		return
	}
	s.wake()
	answerJSON(w, map[string][]string{"retried": done, "unknown": unknown})
}

// dropDead serves POST /queue/dead/drop: the items are removed for good.
func (s *queuePages) dropDead(w http.ResponseWriter, r *http.Request) {
	done, unknown, ok := s.eachDead(w, r, false, "a dead letter was dropped", s.store.Drop)
	if ok {
		answerJSON(w, map[string][]string{"dropped": done, "unknown": unknown})
	}
}

// eachDead applies do to the dead letters that a request names, and logs each. If ok is
// false, it has already responded with a refusal or an error.
func (s *queuePages) eachDead(w http.ResponseWriter, r *http.Request, noneIsAll bool, did string, do func(context.Context, string) error) (done, unknown []string, ok bool) {
	var in Chosen
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		http.Error(w, "the body is not JSON", http.StatusBadRequest)
		return nil, nil, false
	}
	all := in.All || noneIsAll && len(in.IDs) == 0
	if all == (len(in.IDs) > 0) {
		http.Error(w, `the body needs either "ids" or "all"`, http.StatusBadRequest)
		return nil, nil, false
	}
	if all {
		list, err := s.store.DeadLetters(r.Context(), maxAll)
		if err != nil {
			noDatabase(w)
			return nil, nil, false
		}
		for _, d := range list {
			in.IDs = append(in.IDs, d.ID)
		}
	}
	done, unknown = []string{}, []string{}
	for _, id := range in.IDs {
		switch err := do(r.Context(), id); {
		case errors.Is(err, store.ErrNotDead):
			unknown = append(unknown, id)
		case err != nil:
			noDatabase(w)
			return nil, nil, false
		default:
			done = append(done, id)
			s.log.Info(did, "item", id) //nolint:sloglint // one of the two constants of the callers
		}
	}
	return done, unknown, true
}

func noDatabase(w http.ResponseWriter) {
	http.Error(w, "the database does not answer", http.StatusInternalServerError)
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
