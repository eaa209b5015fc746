// Package media removes the homeserver's cached copies of other servers' media. Synapse
// does that itself; Dendrite has no setting for it.
package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"appliance/provision/external"
	"appliance/provision/homeserver"
	"appliance/provision/site"
)

// A Result is what was removed.
type Result struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Itself says that the homeserver does it, or that all copies are kept.
	Itself bool `json:"itself,omitempty"`
}

// Prune removes copies that are older than the answer remote_media_days. Dendrite
// fetches them again on request.
func Prune(ctx context.Context, s *site.Site, now time.Time) (r Result, err error) {
	stack := homeserver.Of(s.Answers.Homeserver).Stack
	if s.Answers.RemoteMediaDays == 0 || stack == nil || !stack.KeepsCopies {
		return Result{Itself: true}, nil
	}
	before := now.Add(-time.Duration(s.Answers.RemoteMediaDays) * 24 * time.Hour)
	hashes, err := external.InHomeserver(ctx, s.Stack, s.Answers, Query(s.Answers.ServerName, before))
	if err != nil {
		return r, err
	}
	root, err := os.OpenRoot(s.Path("data/homeserver/media"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer func() { _ = root.Close() }()
	var errs []error
	for _, hash := range hashes {
		n, err := remove(root, hash)
		if err == nil && n >= 0 {
			r.Files, r.Bytes = r.Files+1, r.Bytes+n
		}
		errs = append(errs, err)
	}
	return r, errors.Join(errs...)
}

// Query returns the SQL that deletes the copies older than a time, with their thumbnails,
// and selects the hashes of files that nothing else refers to: the same file may have
// been sent from here, or have come from elsewhere later.
func Query(server string, before time.Time) string {
	old := fmt.Sprintf("media_origin <> '%s' AND creation_ts < %d", strings.ReplaceAll(server, "'", "''"), before.UnixMilli())
	return `WITH old AS (DELETE FROM mediaapi_media_repository WHERE ` + old + ` RETURNING media_id, media_origin, base64hash),
thumbnails AS (DELETE FROM mediaapi_thumbnail t USING old WHERE t.media_id = old.media_id AND t.media_origin = old.media_origin)
SELECT DISTINCT base64hash FROM old
WHERE NOT EXISTS (SELECT 1 FROM mediaapi_media_repository m WHERE m.base64hash = old.base64hash AND NOT (` + strings.NewReplacer("media_origin", "m.media_origin", "creation_ts", "m.creation_ts").Replace(old) + `));
`
}

// hashes are as Dendrite writes them: SHA-256 in unpadded base64 for URLs.
var hashes = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// remove removes the file of a hash and its thumbnails; it returns -1 if the file is
// already gone.
func remove(root *os.Root, hash string) (size int64, err error) {
	if !hashes.MatchString(hash) {
		return -1, fmt.Errorf("the database names a file %q, which is no hash", hash)
	}
	dir := path.Join(hash[:1], hash[1:2], hash[2:])
	info, err := root.Stat(path.Join(dir, "file"))
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	return info.Size(), root.RemoveAll(dir)
}
