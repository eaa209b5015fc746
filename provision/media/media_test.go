package media_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/mustrun"
	"appliance/provision/media"
)

// Old copies of other servers' media are removed. Media sent from here, new copies, and files
// that one of these shares with an old copy stay.
func TestOnlyOldCopiesOfOthersAreForgotten(t *testing.T) {
	address := os.Getenv("APPLIANCE_TEST_POSTGRES")
	if address == "" {
		mustrun.Skip(t, "no PostgreSQL: set APPLIANCE_TEST_POSTGRES, as make test does")
	}
	ctx := t.Context()
	db, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(ctx) }()
	now := time.Now()
	days := func(n int) int64 { return now.Add(-time.Duration(n) * 24 * time.Hour).UnixMilli() }
	_, err = db.Exec(ctx, `CREATE TEMPORARY TABLE mediaapi_media_repository (media_id TEXT, media_origin TEXT, creation_ts BIGINT, base64hash TEXT);
CREATE TEMPORARY TABLE mediaapi_thumbnail (media_id TEXT, media_origin TEXT)`)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]any{
		{"mine", "example.test", days(400), "A"}, {"old", "other.test", days(100), "B"}, {"new", "other.test", days(10), "C"},
		{"shared", "other.test", days(100), "A"}, {"twice", "other.test", days(100), "D"}, {"twice2", "third.test", days(120), "D"},
		{"again", "other.test", days(100), "E"}, {"again2", "third.test", days(1), "E"},
	} {
		if _, err := db.Exec(ctx, `INSERT INTO mediaapi_media_repository VALUES ($1,$2,$3,$4)`, row...); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(ctx, `INSERT INTO mediaapi_thumbnail VALUES ($1,$2)`, row[0], row[1]); err != nil {
			t.Fatal(err)
		}
	}
	column := func(query string) (out []string) {
		rows, err := db.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return out
	}
	if got := column(media.Query("example.test", now.Add(-90*24*time.Hour))); !slices.Equal(got, []string{"B", "D"}) {
		t.Errorf("files %v are to go, want B and D", got)
	}
	for _, table := range []string{"mediaapi_media_repository", "mediaapi_thumbnail"} {
		if got := column("SELECT media_id FROM " + table); !slices.Equal(got, []string{"again2", "mine", "new"}) {
			t.Errorf("%s still has %v", table, got)
		}
	}
}
