package main

import (
	"net"
	"sync"

	"appliance/provision/external/mongotest"
)

// mongoURL returns the address of a stand-in for the operator's MongoDB, which an installation
// checks before it is made.
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
