package offsite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

type sftpStore struct {
	conn *ssh.Client
	*sftp.Client
	host, dir string
}

// A HostKeyError says that an SFTP server is not, or may not be, the intended one.
type HostKeyError struct {
	Host, Shown string // the key, as one line
	Pinned      bool   // a different key was configured
}

func (e *HostKeyError) Error() string {
	if e.Pinned {
		return e.Host + " shows another host key than backup_offsite_host_key: " + e.Shown
	}
	return e.Host + " is not known yet: backup_offsite_host_key is empty"
}

// Hint says what to do.
func (e *HostKeyError) Hint() string {
	if e.Pinned {
		return "another server may answer in its place: ask who runs it, and change the answer only if its key has changed"
	}
	return "check it with whoever runs the server, then: appliance config set 'backup_offsite_host_key=" + e.Shown + "'"
}

func openSFTP(ctx context.Context, u *url.URL, key []byte, c Config) (Store, error) {
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return nil, &Error{c.KeyFile, errors.New("it holds no private key that can be used"), "write a private key without a passphrase into it: ssh-keygen -t ed25519 -N '' -f " + c.KeyFile}
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "22")
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, &Error{address, err, "check the answer backup_offsite, and that this host reaches " + address}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the libraries take no context
	client, err := handshake(conn, address, u.User.Username(), signer, c.HostKey)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, err
	}
	session, err := sftp.NewClient(client, sftp.MaxConcurrentRequestsPerFile(32))
	if err != nil {
		stop()
		_ = client.Close()
		return nil, &Error{address, err, "allow SFTP for this user there"}
	}
	s := &sftpStore{conn: client, Client: session, host: address, dir: path.Join("/", u.Path)}
	if strings.HasPrefix(u.Path, "/~/") { // below the home directory
		s.dir = strings.TrimPrefix(u.Path, "/~/")
	}
	return s, nil
}

func handshake(conn net.Conn, address, user string, signer ssh.Signer, pinned string) (*ssh.Client, error) {
	var wrong error
	config := &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: func(_ string, _ net.Addr, shown ssh.PublicKey) error {
			want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pinned))
			if err != nil || !bytes.Equal(want.Marshal(), shown.Marshal()) {
				wrong = &HostKeyError{address, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(shown))), pinned != ""}
			}
			return wrong
		},
	}
	if want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pinned)); err == nil {
		config.HostKeyAlgorithms = algorithms(want.Type()) // a server with several keys shows the pinned one
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	switch {
	case wrong != nil:
		return nil, wrong
	case err != nil && strings.Contains(err.Error(), "unable to authenticate"):
		public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
		return nil, &Error{address, fmt.Errorf("the server does not accept the key of %s", user), "add this line to its authorized_keys: " + public}
	case err != nil:
		return nil, &Error{address, err, "check that an SSH server answers at " + address}
	}
	return ssh.NewClient(c, channels, requests), nil
}

func algorithms(kind string) []string {
	if kind == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{kind}
}

func (s *sftpStore) at(name string) string { return path.Join(s.dir, name) }

func (s *sftpStore) List(ctx context.Context) ([]Object, error) {
	entries, err := s.ReadDirContext(ctx, s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.explain(err)
	}
	var out []Object
	for _, e := range entries {
		if e.Mode().IsRegular() {
			out = append(out, Object{e.Name(), e.Size(), e.ModTime()})
		}
	}
	return out, nil
}

// Put writes to a temporary name and renames at the end, so that name never holds a partial file.
func (s *sftpStore) Put(ctx context.Context, name string, from File, size int64) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	if err := s.MkdirAll(s.dir); err != nil {
		return s.explain(err)
	}
	partial := s.at(name + ".partial")
	f, err := s.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return s.explain(err)
	}
	_, err = f.ReadFromWithConcurrency(io.LimitReader(from, size), 32)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.PosixRename(partial, s.at(name))
	}
	if err != nil {
		_ = s.Client.Remove(partial)
		return s.explain(errors.Join(ctx.Err(), err))
	}
	return nil
}

func (s *sftpStore) Get(_ context.Context, name string) (io.ReadCloser, error) {
	f, err := s.Open(s.at(name))
	if err != nil {
		return nil, s.explain(err)
	}
	return f, nil
}

func (s *sftpStore) Remove(_ context.Context, name string) error {
	return s.explain(s.Client.Remove(s.at(name)))
}

func (s *sftpStore) Close() error { return errors.Join(s.Client.Close(), s.conn.Close()) }

func (s *sftpStore) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &Error{s.host, err, "see what is there: appliance backup list"}
	case errors.Is(err, fs.ErrPermission):
		return &Error{s.host, err, "let the user write to " + s.dir + " there"}
	}
	return &Error{s.host, err, "check that there is room in " + s.dir + ", and that this host reaches " + s.host}
}
