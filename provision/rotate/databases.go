package rotate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"appliance/compose"
	"appliance/provision/secrets"
	"appliance/provision/stack"
)

// PostgresSQL returns the SQL that gives the role running it a new password. The server
// receives only what it stores: the SCRAM-SHA-256 verifier (RFC 5803), so neither its log nor
// its statistics of statements can show the password.
func PostgresSQL(password string) (string, error) {
	const rounds = 4096
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		_, _ = io.WriteString(h, text)
		return h.Sum(nil)
	}
	stored, encode := sha256.Sum256(mac("Client Key")), base64.StdEncoding.EncodeToString
	return fmt.Sprintf("ALTER ROLE CURRENT_USER PASSWORD 'SCRAM-SHA-256$%d:%s$%s:%s';\n", rounds, encode(salt), encode(stored[:]), encode(mac("Server Key"))), nil
}

// setPostgres changes the password inside the container, where the server's owner can connect
// without one.
func setPostgres(ctx context.Context, s *stack.Stack, password string) error {
	sql, err := PostgresSQL(password)
	if err != nil {
		return err
	}
	err = s.Exec(ctx, "postgres", strings.NewReader(sql), io.Discard, "psql", "-U", "homeserver", "-d", "homeserver", "-v", "ON_ERROR_STOP=1", "-qf", "-")
	if err != nil {
		return fmt.Errorf("set the password in PostgreSQL: %w", err)
	}
	return nil
}

// postgresAccepts signs in at the container's own address, as other containers do, because only
// there a password is required. It is passed through standard input, not in arguments that
// others can see.
func postgresAccepts(ctx context.Context, s *stack.Stack, password string) (bool, error) {
	err := s.Exec(ctx, "postgres", strings.NewReader(password+"\n"), io.Discard, "sh", "-c",
		`read -r PGPASSWORD; export PGPASSWORD; set -- $(hostname -i); exec psql -w -h "$1" -U homeserver -d homeserver -Atc 'SELECT 1'`)
	if err != nil && strings.Contains(err.Error(), "password authentication failed") {
		return false, nil
	}
	return err == nil, err
}

// runMongo runs the script in the container of MongoDB.
func runMongo(ctx context.Context, s *stack.Stack, g given) (said map[string]struct{ Now, Was bool }, err error) {
	var out bytes.Buffer
	err = s.Exec(ctx, "mongo", io.MultiReader(strings.NewReader(g.script()), bytes.NewReader(compose.MongoRotate)), &out, "sh", "-c", `set -eu; umask 077; f=$(mktemp); trap 'rm -f "$f"' EXIT
cat >"$f"; mongosh --quiet --norc "mongodb://127.0.0.1:27017/admin?directConnection=true" --file "$f"`)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return said, json.Unmarshal([]byte(lines[len(lines)-1]), &said)
}

// setMongo changes the passwords in MongoDB. Its keyfile is on disk only.
func (c Change) setMongo(ctx context.Context) error {
	set, _, err := secrets.Prepare(c.Site.Dir)
	if err != nil {
		return err
	}
	g := given{Change: true, Root: passwords{Now: set[secrets.MongoRootPassword].Reveal()}, Users: map[string]passwords{}}
	for name, user := range mongoUser {
		if r, ok := c.Rotations.Of(name); ok {
			g.Users[user] = passwords{r.New, r.Old}
		}
	}
	if len(g.Users) == 0 {
		return nil
	}
	if root, ok := g.Users["root"]; ok {
		g.Root = root
	}
	said, err := runMongo(ctx, c.Site.Stack, g)
	for user := range g.Users {
		if err == nil && !said[user].Now {
			err = errors.New("the new password of " + user + " does not sign in")
		}
	}
	if err != nil {
		return fmt.Errorf("set the passwords in MongoDB: %w", err)
	}
	return nil
}

func mongoAccepts(ctx context.Context, s *stack.Stack, user, password string) (bool, error) {
	said, err := runMongo(ctx, s, given{Users: map[string]passwords{user: {Now: password}}})
	return said[user].Now, err
}
