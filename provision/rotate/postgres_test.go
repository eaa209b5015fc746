package rotate_test

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/mustrun"
	"appliance/provision/rotate"
)

// A real PostgreSQL accepts the new password of a role, and no longer the one before. The password
// itself is never sent to it.
func TestPostgreSQLTakesTheNewPasswordAndForgetsTheOld(t *testing.T) {
	server := os.Getenv("APPLIANCE_TEST_POSTGRES")
	if server == "" {
		mustrun.Skip(t, "no PostgreSQL: set APPLIANCE_TEST_POSTGRES, as make test does")
	}
	ctx := t.Context()
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(ctx) }()
	role := fmt.Sprintf("rotated_%d_%d", os.Getpid(), time.Now().UnixNano())
	if _, err := admin.Exec(ctx, "CREATE ROLE "+role+" LOGIN PASSWORD 'first'"); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = admin.Exec(ctx, "DROP ROLE "+role) }()
	signIn := func(password string) (*pgx.Conn, error) {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, password)
		return pgx.Connect(ctx, u.String())
	}
	last := "first"
	for _, next := range []string{"second-Aa0", "third-Zz9"} {
		own, err := signIn(last)
		if err != nil {
			t.Fatalf("%s: %v", last, err)
		}
		sql, err := rotate.PostgresSQL(next)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(sql, next) {
			t.Errorf("PostgreSQL is told the password: %s", sql)
		}
		_, err = own.Exec(ctx, sql)
		_ = own.Close(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signIn(last); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
			t.Errorf("the old password %s: %v", last, err)
		}
		last = next
	}
	own, err := signIn(last)
	if err != nil {
		t.Fatalf("the new password does not sign in: %v", err)
	}
	_ = own.Close(ctx)
}
