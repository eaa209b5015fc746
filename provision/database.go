package provision

import (
	"cmp"
	"context"

	"appliance/provision/answers"
	"appliance/provision/databases"
	"appliance/provision/external"
	"appliance/provision/site"
)

// checkDatabase refuses to let the homeserver start from scratch in another database while its
// data is in the old one, and to use a database that holds the data of something else.
func checkDatabase(ctx context.Context, s *site.Site, o Options) error {
	if !o.Answers.BundledHomeserver() {
		return nil
	}
	m, err := s.Stack.Tree().Manifest()
	if err != nil {
		return err
	}
	now := o.Answers.HomeserverDatabaseAt()
	was := cmp.Or(m.HomeserverDatabase, answers.Bundled)
	installed := len(m.Permanent) > 0
	switch {
	case installed && was == now:
		return nil
	case installed && (!o.DatabaseCopied || now == answers.Bundled && databases.FilesOf(s) == ""):
		return &MovedDatabaseError{Was: was, Now: now}
	case now == answers.Bundled:
		return nil // its files exist; they cannot be inspected before it runs
	}
	return external.Usable(ctx, o.Answers, o.DatabaseCopied)
}
