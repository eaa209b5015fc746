package mxside_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"appliance/bridge/config"
	"appliance/bridge/store"
)

// sulking is a homeserver that does not answer the second ping or any later one.
type sulking struct {
	pings  chan struct{} // one element per ping
	silent bool
}

func (s *sulking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // otherwise the server does not notice that the caller is gone
	if strings.HasSuffix(r.URL.Path, "/ping") {
		s.pings <- struct{}{}
		if s.silent {
			<-r.Context().Done()
			return
		}
		s.silent = true
	}
	_, _ = io.WriteString(w, "{}")
}

// A side that is told to stop does so while the homeserver is being asked to resend what
// was refused, and leaves nothing running.
func TestLeadingEndsWhileARefusedTransactionIsWaitedFor(t *testing.T) {
	before := goleak.IgnoreCurrent()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	home := &sulking{pings: make(chan struct{}, 100)}
	srv := httptest.NewServer(home)
	s := sideAt(t, config.Synapse, srv.URL, db)
	mux := http.NewServeMux()
	s.Routes(mux)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Lead(ctx) }()
	<-home.pings // the homeserver is there
	refused := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPut, "/_matrix/app/v1/transactions/1", strings.NewReader(`{"events":[]}`))
	req.Header.Set("Authorization", "Bearer hs")
	mux.ServeHTTP(refused, req)
	if refused.Code != http.StatusServiceUnavailable {
		t.Errorf("the first transaction after an absence: %d", refused.Code)
	}
	select {
	case <-home.pings: // the retry, which waits for its answer
	case <-time.After(10 * time.Second):
		t.Error("the homeserver is not asked to send again")
	}
	stop()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	srv.CloseClientConnections()
	srv.Close()
	_ = db.Close()
	if err := goleak.Find(before,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop")); err != nil {
		t.Errorf("something runs on: %v", err)
	}
}
