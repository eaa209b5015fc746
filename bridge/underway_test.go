package bridge_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
)

// TestWhatIsUnderWayWhenTheHomeserverIsKilledArrives: the homeserver is killed while
// it waits for the response to a transaction, and no later message reminds it.
func TestWhatIsUnderWayWhenTheHomeserverIsKilledArrives(t *testing.T) {
	s := newStage(t)
	s.stop()
	sending := make(chan struct{}, 16)
	ln, err := net.Listen("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	silent := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "under way") {
			sending <- struct{}{}
		}
		<-r.Context().Done() // it never answers
	})}
	go func() { _ = silent.Serve(ln) }()
	s.bob.Send(s.mxRoom, "under way")
	mxtest.WaitFor(t, "the homeserver to send it", func() bool { return len(sending) > 0 })
	s.home.Kill()
	_ = silent.Close()
	s.home.Launch()
	s.startBridge()
	s.messageText("under way")
}
