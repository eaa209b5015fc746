package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// An op replaces one document, or removes it when Doc is nil.
type op struct {
	Coll string
	ID   string
	Doc  Doc
}

// A journal is an append-only file of JSON lines, one line for all changes of one
// request. Many requests share one fsync: run writes whatever has accumulated while
// the disk was busy. A journal without a file is always durable.
type journal struct {
	file *os.File
	lock *os.File

	mu      sync.Mutex
	cond    *sync.Cond
	buf     []byte
	last    uint64 // position of the newest append
	durable uint64 // everything up to here is on disk
	closed  bool
	err     error
}

// openJournal reads path into s, rewrites it without obsolete entries, and opens it
// for appending. A torn last line was left by a kill and is ignored: its request
// was never answered.
func openJournal(path string, s *store) (*journal, error) {
	j := &journal{}
	j.cond = sync.NewCond(&j.mu)
	if path == "" {
		return j, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	j.lock = lock
	if err := replay(path, s); err != nil {
		return nil, firstError(err, lock.Close())
	}
	if err := compact(path, s); err != nil {
		return nil, firstError(err, lock.Close())
	}
	j.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	return j, err
}

// lockFile keeps two simulators from writing one journal.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: another rocketsim uses this data: %w", path, err)
	}
	return f, nil
}

func replay(path string, s *store) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil // line is empty or torn
		}
		if err != nil {
			return err
		}
		if err := applyLine(line, s); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
}

func applyLine(line []byte, s *store) error {
	var ops [][3]json.RawMessage
	if err := json.Unmarshal(line, &ops); err != nil {
		return err
	}
	for _, raw := range ops {
		o, err := decodeOp(raw)
		if err != nil {
			return err
		}
		s.apply(o)
	}
	return nil
}

func decodeOp(raw [3]json.RawMessage) (o op, err error) {
	if err := json.Unmarshal(raw[0], &o.Coll); err != nil {
		return o, err
	}
	if err := json.Unmarshal(raw[1], &o.ID); err != nil {
		return o, err
	}
	if string(raw[2]) != "null" {
		o.Doc, err = decodeDoc(raw[2], true)
	}
	return o, err
}

// compact writes the contents of s to a file beside path and moves it into place.
func compact(path string, s *store) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriterSize(f, 1<<20)
	s.each(func(o op) { w.Write(encodeOps([]op{o})) })
	if err := firstError(w.Flush(), f.Sync(), f.Close(), os.Rename(f.Name(), path)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func encodeOps(ops []op) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, o := range ops {
		if i > 0 {
			b.WriteByte(',')
		}
		doc := []byte("null")
		if o.Doc != nil {
			doc = ejson(o.Doc)
		}
		fmt.Fprintf(&b, "[%q,%s,%s]", o.Coll, ejson(o.ID), doc)
	}
	b.WriteString("]\n")
	return b.Bytes()
}

// append queues ops and returns the position that covers them.
func (j *journal) append(ops []op) uint64 {
	if j.file == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(ops) > 0 {
		j.buf = append(j.buf, encodeOps(ops)...)
		j.last++
		j.cond.Broadcast()
	}
	return j.last
}

// wait returns when everything up to seq is on disk, or cannot be.
func (j *journal) wait(seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.durable < seq && j.err == nil {
		j.cond.Wait()
	}
	return j.err
}

// run writes until close. It is the only writer of the file.
func (j *journal) run() {
	for j.file != nil {
		buf, seq, done := j.take()
		if done {
			return
		}
		_, err := j.file.Write(buf)
		if err == nil {
			err = j.file.Sync()
		}
		j.settle(seq, err)
	}
}

func (j *journal) take() (buf []byte, seq uint64, done bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.buf) == 0 && !j.closed {
		j.cond.Wait()
	}
	buf, j.buf = j.buf, nil
	return buf, j.last, len(buf) == 0
}

func (j *journal) settle(seq uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && j.err == nil {
		j.err = fmt.Errorf("journal: %w", err)
	}
	if j.err == nil {
		j.durable = seq
	}
	j.cond.Broadcast()
}

// close waits for the disk and closes the files.
func (j *journal) close() error {
	j.mu.Lock()
	j.closed = true
	j.cond.Broadcast()
	seq := j.last
	j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	return firstError(j.wait(seq), j.file.Close(), j.lock.Close())
}
