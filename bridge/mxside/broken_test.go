package mxside

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A homeserver that was killed and is up again before the next request to it has broken its
// connection: the order of what it sends is doubted.
func TestAHomeserverThatWasKilledBetweenTwoRequestsIsDoubted(t *testing.T) {
	c := newContact(time.Minute, nil)
	c.doubtUntil = time.Time{} // long after a start
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: dialFor(c.broke)}}
	res, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if c.doubted(context.Background()) {
		t.Fatal("it is doubted before anything has happened")
	}
	srv.CloseClientConnections()
	for deadline := time.Now().Add(10 * time.Second); !c.doubted(context.Background()); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody has noticed")
		}
	}
}

// Idle connections that the bridge itself closes are no reason for doubt.
func TestAConnectionThatWeCloseIsNoReasonForDoubt(t *testing.T) {
	broken := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	conn, err := dialFor(func() { broken <- struct{}{} })(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	_ = conn.Close()
	if err := <-read; err == nil {
		t.Fatal("something was read")
	}
	select {
	case <-broken:
		t.Error("the server is said to have closed it")
	case <-time.After(50 * time.Millisecond):
	}
}
