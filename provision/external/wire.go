package external

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A greeting is what a MongoDB reports about itself before a user signs in.
type greeting struct {
	SetName string   `bson:"setName"`
	Me      string   `bson:"me"`
	Hosts   []string `bson:"hosts"`
	Primary string   `bson:"primary"`

	Writable  bool   `bson:"isWritablePrimary"`
	Secondary bool   `bson:"secondary"`
	Kind      string `bson:"msg"` // isdbgrid of a mongos
}

// Connection failures that are about TLS itself, and not about a certificate.
var (
	errNoTLS        = errors.New("it has no TLS")
	errTLSOnly      = errors.New("it takes connections with TLS only")
	errWantsClient  = errors.New("it requires a client certificate")
	errNotItsAnswer = errors.New("it does not answer as MongoDB does")
)

// greet asks a MongoDB what it is. secure is nil for a connection without TLS. Nobody signs in.
func greet(ctx context.Context, host string, secure *tls.Config) (greeting, error) {
	g, err := greetOnce(ctx, host, secure)
	switch {
	case err == nil:
		return g, nil
	case secure != nil && rejected(err):
		if _, plain := greetOnce(ctx, host, nil); plain == nil {
			return g, errNoTLS
		}
	case secure == nil && rejected(err):
		every := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // only whether it speaks TLS: nothing is told to it
		if conn, tlsErr := dial(ctx, host, every); tlsErr == nil {
			_ = conn.Close()
			return g, errTLSOnly
		}
	}
	// Alerts of a server that wants a certificate and got none, in TLS 1.3 and 1.2. They have
	// no type that other packages can use.
	if text := err.Error(); secure != nil && (strings.HasSuffix(text, "tls: certificate required") || strings.HasSuffix(text, "tls: bad certificate")) {
		return g, errWantsClient
	}
	return g, err
}

// rejected reports whether a server ended a connection because of the first bytes that it got.
func rejected(err error) bool {
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	return notTLS || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func dial(ctx context.Context, host string, secure *tls.Config) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil || secure == nil {
		return conn, err
	}
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	secured := tls.Client(conn, forHost(secure, host))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// forHost returns a copy of a configuration for a host.
func forHost(c *tls.Config, host string) *tls.Config {
	c = c.Clone()
	c.ServerName, _, _ = net.SplitHostPort(host)
	return c
}

func greetOnce(ctx context.Context, host string, secure *tls.Config) (g greeting, err error) {
	conn, err := dial(ctx, host, secure)
	if err != nil {
		return g, err
	}
	defer func() { _ = conn.Close() }()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	} else {
		_ = conn.SetDeadline(time.Now().Add(patience))
	}
	reply, err := ask(conn, bson.D{{Key: "hello", Value: 1}, {Key: "$db", Value: "admin"}})
	if err != nil {
		return g, err
	}
	if err := bson.Unmarshal(reply, &g); err != nil {
		return g, errNotItsAnswer
	}
	return g, nil
}

// opMsg is the opcode of all messages in MongoDB's present protocol.
const opMsg = 2013

// ask sends a command and returns the document of the reply.
func ask(conn io.ReadWriter, command bson.D) (bson.Raw, error) {
	document, err := bson.Marshal(command)
	if err != nil {
		return nil, err
	}
	const header = 16
	message := make([]byte, header, header+5+len(document))
	binary.LittleEndian.PutUint32(message, uint32(cap(message))) //nolint:gosec // small
	binary.LittleEndian.PutUint32(message[4:], 1)
	binary.LittleEndian.PutUint32(message[12:], opMsg)
	message = append(append(message, 0, 0, 0, 0, 0), document...) // no flags, one document
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, message[:header]); err != nil {
		return nil, err
	}
	size, kind := binary.LittleEndian.Uint32(message), binary.LittleEndian.Uint32(message[12:])
	if kind != opMsg || size < header+5 || size > 1<<20 {
		return nil, errNotItsAnswer
	}
	body := make([]byte, size-header)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, fmt.Errorf("the answer is cut off: %w", err)
	}
	return bson.Raw(body[5:]), nil
}
