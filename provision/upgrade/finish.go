package upgrade

import (
	"context"

	"appliance/provision"
	"appliance/provision/databases"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// An UnfinishedError says that an upgrade has succeeded except for MongoDB's format.
type UnfinishedError struct{ Err error }

func (e *UnfinishedError) Error() string {
	return "the new versions run, and MongoDB keeps its data in the old format: " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *UnfinishedError) Hint() string { return "try again with: appliance upgrade --finish" }

// raise moves MongoDB's data to the format of the running version.
func raise(ctx context.Context, s *site.Site, r provision.Reporter) error {
	if !s.Answers.BundledMongo() {
		return nil
	}
	step := plan.Step{ID: "format", Title: "switch MongoDB to the data format of the running version"}
	err := plan.Track(r, step, func() error { _, err := databases.Raise(ctx, s); return err })
	if err != nil {
		return &UnfinishedError{err}
	}
	return nil
}

// Finish raises the format of MongoDB's data where an upgrade could not.
func Finish(ctx context.Context, s *site.Site, r provision.Reporter) error {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return raise(ctx, s, r)
}
