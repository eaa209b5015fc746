package mxside

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A homeserver may be killed and be back between two requests, so that none of them fails.
// But the connections to the old process break, and what it had in progress at the time may
// arrive out of order. Connections that were idle for longer than inUse are closed by
// servers and proxies for reasons of their own.
const inUse = 5 * time.Second

// dialFor returns a dialer whose connections call broke when the other side closes them while
// they are in use.
func dialFor(broke func()) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &usedConn{Conn: conn, broke: broke}
		c.used.Store(time.Now().UnixNano())
		return c, nil
	}
}

// usedConn records when it was last used.
type usedConn struct {
	net.Conn
	broke func()
	used  atomic.Int64
}

// Read implements net.Conn.
func (c *usedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		if time.Since(time.Unix(0, c.used.Load())) < inUse {
			go c.broke()
		}
	} else {
		c.used.Store(time.Now().UnixNano())
	}
	return n, err
}

// Write implements net.Conn.
func (c *usedConn) Write(p []byte) (int, error) {
	c.used.Store(time.Now().UnixNano())
	return c.Conn.Write(p)
}
