package offsite

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Keys reads the access key and the secret key from a file that only its owner can read.
func Keys(file string) (access, secret string, err error) {
	text, err := readKey(file)
	if err != nil {
		return "", "", err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2 {
		return "", "", &Error{file, errors.New("it needs two lines"), "write the access key into the first line of the file and the secret key into the second"}
	}
	return strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1]), nil
}

// Probe checks that a location accepts files: it stores a small one under a unique name,
// reads it back and removes it, even if reading it back fails.
func Probe(ctx context.Context, c Config) error {
	at, err := Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }()
	content := make([]byte, 64)
	_, _ = rand.Read(content) // never fails
	name := "appliance-check-" + hex.EncodeToString(content[:8])
	if err := at.Put(ctx, name, bytes.NewReader(content), int64(len(content))); err != nil {
		return err
	}
	err = readBack(ctx, at, name, content)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // what was stored goes, whatever happened
	defer cancel()
	if gone := at.Remove(end, name); gone != nil {
		return errors.Join(err, fmt.Errorf("%w; the file %s stays there", gone, name))
	}
	return err
}

func readBack(ctx context.Context, at Store, name string, want []byte) error {
	back, err := at.Get(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = back.Close() }()
	got, err := io.ReadAll(io.LimitReader(back, int64(len(want)+1)))
	if err == nil && !bytes.Equal(got, want) {
		return errors.New("a file came back different from what was sent")
	}
	return err
}
