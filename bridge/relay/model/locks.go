package model

import "sync"

// Locks is a mutex per key: two rooms may meet the same newcomer at the same time. The
// zero value is ready to use. Its methods are safe for concurrent use.
type Locks struct {
	// Across locks a key among all processes that share the store; nil when
	// there is only one.
	Across func(key string) (unlock func(), err error)

	held sync.Map // *sync.Mutex by key
}

// Do runs f while no other f runs for the same key. It returns the error of f, or an
// error if the key could not be locked.
func (l *Locks) Do(key string, f func() error) error {
	m, _ := l.held.LoadOrStore(key, &sync.Mutex{})
	mu, _ := m.(*sync.Mutex)
	mu.Lock()
	defer mu.Unlock()
	if l.Across != nil {
		unlock, err := l.Across(key)
		if err != nil {
			return err
		}
		defer unlock()
	}
	return f()
}
