// Package mongotest answers the requests of a MongoDB check as a MongoDB would. It is for tests
// and demonstrations in which a simulator stands in for Rocket.Chat: it keeps no data, and it
// is not MongoDB.
package mongotest

import (
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Server is one member of a replica set, the primary unless Primary says otherwise.
type Server struct {
	Version string // such as 8.0.12
	Set     string // name of the replica set; "" for none
	Name    string // its name in the set; "" for the address
	Primary string // of the set; "" for itself, None for none

	User, Password string   // who may sign in; nobody has to if both are empty
	Actions        []string // what the user may do in its database; nil for all that the role readWrite allows
	Database       string   // of the user

	listener net.Listener
	mu       sync.Mutex
	asked    []string
}

// None is the Primary of a set that has none.
const None = "none"

// Start listens at an address, with TLS if secure is given.
func (s *Server) Start(address string, secure *tls.Config) error {
	l, err := net.Listen("tcp", address) //nolint:noctx // it lives as long as the program
	if err != nil {
		return err
	}
	s.listener = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if secure != nil {
				conn = tls.Server(conn, secure)
			}
			go s.serve(conn)
		}
	}()
	return nil
}

// Address is where it listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close stops listening.
func (s *Server) Close() { _ = s.listener.Close() }

// Asked returns the names of the commands received, in order.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// A session is a connection and who signed in on it.
type session struct {
	server *Server
	at     string // where it is connected to
	conn   *scram.ServerConversation
	user   string
}

const opQuery, opReply, opMsg = 2004, 1, 2013

func (s *Server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	one := &session{server: s, at: conn.LocalAddr().String()}
	for {
		var header [16]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return
		}
		size, id, kind := binary.LittleEndian.Uint32(header[:]), binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[12:])
		if size < 16 || size > 1<<20 {
			return // such as a TLS handshake
		}
		body := make([]byte, size-16)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		command, err := document(kind, body)
		if err != nil {
			return
		}
		reply, err := bson.Marshal(one.answer(command))
		if err != nil {
			return
		}
		before := []byte{0, 0, 0, 0, 0} // no flags, one document
		answers := uint32(opMsg)
		if kind == opQuery {
			before, answers = append([]byte{8, 0, 0, 0}, make([]byte, 16)...), opReply
			before[16] = 1 // document
		}
		out := make([]byte, 16, 16+len(before)+len(reply))
		binary.LittleEndian.PutUint32(out, uint32(cap(out))) //nolint:gosec // small
		binary.LittleEndian.PutUint32(out[8:], id)
		binary.LittleEndian.PutUint32(out[12:], answers)
		if _, err := conn.Write(append(append(out, before...), reply...)); err != nil {
			return
		}
	}
}

// document returns the command in a message. Drivers use a query until they know a server.
func document(kind uint32, body []byte) (bson.Raw, error) {
	switch {
	case kind == opMsg && len(body) > 5 && body[4] == 0:
		return bson.Raw(body[5:]), bson.Raw(body[5:]).Validate()
	case kind == opQuery && len(body) > 4:
		for i, b := range body[4:] {
			if start := 4 + i + 1 + 8; b == 0 && start < len(body) {
				return bson.Raw(body[start:]), bson.Raw(body[start:]).Validate()
			}
		}
	}
	return nil, errors.New("no message of MongoDB's protocol")
}

func refusal(code int32, name, format string, args ...any) bson.M {
	return bson.M{"ok": 0.0, "code": code, "codeName": name, "errmsg": fmt.Sprintf(format, args...)}
}

func (o *session) answer(command bson.Raw) bson.M {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return refusal(9, "FailedToParse", "no command")
	}
	s, name := o.server, elements[0].Key()
	s.mu.Lock()
	s.asked = append(s.asked, name)
	s.mu.Unlock()
	signedIn := s.User == "" || o.user != ""
	switch name {
	case "hello", "isMaster", "ismaster":
		out := s.hello(o.at)
		if _, err := command.LookupErr("saslSupportedMechs"); err == nil {
			out["saslSupportedMechs"] = bson.A{"SCRAM-SHA-256"}
		}
		if speculative, err := command.LookupErr("speculativeAuthenticate"); err == nil && speculative.Type == bson.TypeEmbeddedDocument {
			if reply := o.sasl(speculative.Document()); reply["ok"] == 1.0 { // otherwise the request is ignored
				out["speculativeAuthenticate"] = reply
			}
		}
		return out
	case "saslStart", "saslContinue":
		return o.sasl(command)
	case "connectionStatus":
		return bson.M{"ok": 1.0, "authInfo": o.status()}
	case "endSessions", "ping":
		return bson.M{"ok": 1.0}
	case "listCollections", "buildInfo", "buildinfo":
		if !signedIn {
			return refusal(13, "Unauthorized", "Command %s requires authentication", name)
		}
		if name == "listCollections" {
			return bson.M{"ok": 1.0, "cursor": bson.M{"id": int64(0), "ns": "db.$cmd.listCollections", "firstBatch": bson.A{}}}
		}
		return bson.M{"ok": 1.0, "version": s.Version}
	}
	return refusal(59, "CommandNotFound", "no such command: '%s'", name)
}

// hello returns what a member reports about itself.
func (s *Server) hello(at string) bson.M {
	me := cmp.Or(s.Name, at)
	out := bson.M{"ok": 1.0, "isWritablePrimary": true, "ismaster": true, "helloOk": true, "minWireVersion": int32(0), "maxWireVersion": int32(25),
		"maxBsonObjectSize": int32(16 << 20), "maxMessageSizeBytes": int32(48000000), "maxWriteBatchSize": int32(100000)}
	if s.Set == "" {
		return out
	}
	out["setName"], out["setVersion"], out["me"], out["hosts"] = s.Set, int32(1), me, bson.A{me}
	switch s.Primary {
	case "":
		out["primary"] = me
	case None:
		out["isWritablePrimary"], out["ismaster"], out["secondary"] = false, false, true
	default:
		out["isWritablePrimary"], out["ismaster"], out["secondary"], out["primary"], out["hosts"] = false, false, true, s.Primary, bson.A{me, s.Primary}
	}
	return out
}

// readWrite are the actions of the role of that name.
var readWrite = []string{
	"changeStream", "collStats", "convertToCapped", "createCollection", "createIndex", "dbHash", "dbStats", "dropCollection", "dropIndex", "find", "insert", "killCursors",
	"listCollections", "listIndexes", "listSearchIndexes", "planCacheRead", "remove", "renameCollectionSameDB", "update",
}

func (o *session) status() bson.M {
	if o.user == "" {
		return bson.M{"authenticatedUsers": bson.A{}, "authenticatedUserRoles": bson.A{}, "authenticatedUserPrivileges": bson.A{}}
	}
	actions := o.server.Actions
	if actions == nil {
		actions = readWrite
	}
	return bson.M{
		"authenticatedUsers":     bson.A{bson.M{"user": o.user, "db": "admin"}},
		"authenticatedUserRoles": bson.A{bson.M{"role": "readWrite", "db": o.server.Database}},
		"authenticatedUserPrivileges": bson.A{
			bson.M{"resource": bson.M{"db": o.server.Database, "collection": ""}, "actions": actions},
			bson.M{"resource": bson.M{"db": o.server.Database, "collection": "system.js"}, "actions": readWrite},
		},
	}
}

// sasl is a step of a sign-in by SCRAM-SHA-256.
func (o *session) sasl(command bson.Raw) bson.M {
	failed := refusal(18, "AuthenticationFailed", "Authentication failed.")
	if o.conn == nil {
		server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
			if name != o.server.User {
				return scram.StoredCredentials{}, errors.New("unknown")
			}
			client, err := scram.SHA256.NewClient(o.server.User, o.server.Password, "")
			if err != nil {
				return scram.StoredCredentials{}, err
			}
			return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef01234567", Iters: 15000})
		})
		if err != nil {
			return failed
		}
		o.conn = server.NewConversation()
	}
	payload, err := command.LookupErr("payload")
	if err != nil || payload.Type != bson.TypeBinary {
		return failed
	}
	_, data := payload.Binary()
	if o.conn.Done() {
		return bson.M{"ok": 1.0, "conversationId": int32(1), "done": true, "payload": bson.Binary{}}
	}
	said, err := o.conn.Step(string(data))
	if err != nil {
		o.conn = nil
		return failed
	}
	if o.conn.Done() {
		o.user = o.conn.Username()
	}
	return bson.M{"ok": 1.0, "conversationId": int32(1), "done": o.conn.Done(), "payload": bson.Binary{Data: []byte(said)}}
}

// Address returns an address of this host that its containers can reach too: not the loopback.
func Address() (string, error) {
	found, err := net.InterfaceAddrs()
	for _, one := range found {
		if n, ok := one.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "", errors.Join(err, errors.New("this host has no address but those of the loopback"))
}
