package main

import (
	"net"
	"sync"

	"appliance/provision/external/mongotest"
)

// mongoURL is the address of what stands in for a MongoDB of the operator's while the tests
// run: an installation looks at it before it is made.
var mongoURL = sync.OnceValue(func() string {
	at, err := mongotest.Address()
	if err != nil {
		panic(err)
	}
	s := &mongotest.Server{Version: "8.0.12", Set: "rs0"}
	if err := s.Start(net.JoinHostPort(at, "0"), nil); err != nil {
		panic(err)
	}
	return "mongodb://" + s.Address() + "/rc"
})
