package store

import (
	"context"
	"time"

	"appliance/bridge/relay/model"
)

// fileTable has the files that were bridged.
type fileTable struct{ *database }

// File implements relay.Store.
func (s *fileTable) File(ctx context.Context, source string) (model.File, bool, error) {
	f := model.File{Source: source}
	var at int64
	err := s.queryRow(ctx, `SELECT target, info, at FROM media WHERE source = $1`, source).Scan(&f.Target, &f.Info, &at)
	f.At = time.UnixMilli(at).UTC()
	return found(f, err)
}

// PutFile implements relay.Store.
func (s *fileTable) PutFile(ctx context.Context, f model.File) error {
	_, err := s.exec(ctx, `INSERT INTO media (source, target, info, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (source) DO UPDATE SET target = excluded.target, info = excluded.info, at = excluded.at`,
		f.Source, f.Target, f.Info, f.At.UnixMilli())
	return err
}

// BroughtFile implements relay.Store.
func (s *fileTable) BroughtFile(ctx context.Context, file string) (bool, error) {
	return s.exists(ctx, `SELECT 1 FROM media WHERE target = $1 AND source LIKE 'mx:%' LIMIT 1`, file)
}
