package selfupdate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aead.dev/minisign"
)

// Limits on what is taken from a server.
const (
	sumsLimit    = 1 << 20
	programLimit = 1 << 30
	stall        = time.Minute // without receiving a byte
)

func isSum(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

func sumOf(name string) (string, error) {
	f, err := os.Open(name) //nolint:gosec // a program
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// checksum returns the checksum that the program of the release must have, and the version of
// the release, both as signed by a known key.
func (o *Options) checksum(ctx context.Context, keys []minisign.PublicKey) (sum, version string, err error) {
	sums, version, err := o.signed(ctx, keys)
	if err != nil {
		return "", "", err
	}
	if older(version, o.Version) {
		return "", "", &DowngradeError{Have: o.Version, Offered: version}
	}
	if sum = listed(sums, Name()); sum == "" {
		return "", "", &ReleaseError{o.Release + SumsName + " does not name " + Name(), "this release is not for hosts of this kind"}
	}
	if o.SHA256 != "" && o.SHA256 != sum {
		return "", "", &ChecksumError{File: Name(), Want: o.SHA256, Got: sum}
	}
	return sum, version, nil
}

// signed downloads the list of checksums and verifies its signature, which names the version.
func (o *Options) signed(ctx context.Context, keys []minisign.PublicKey) (sums []byte, version string, err error) {
	if sums, err = o.small(ctx, SumsName, sumsLimit); err != nil {
		return nil, "", err
	}
	signature, err := o.small(ctx, SignatureName, signatureLimit)
	if missing, ok := errors.AsType[*missingFileError](err); ok {
		return nil, "", &SignatureError{"the release is not signed: " + missing.Error()}
	}
	if err != nil {
		return nil, "", err
	}
	version, err = verify(keys, sums, signature)
	return sums, version, err
}

// listed returns the checksum of a file in a list of them, in lower case, or "".
func listed(sums []byte, name string) string {
	for line := range strings.Lines(string(sums)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.TrimLeft(file, " *") == name && isSum(sum) {
			return strings.ToLower(sum)
		}
	}
	return ""
}

// small downloads a file of the release that fits into memory.
func (o *Options) small(ctx context.Context, name string, limit int64) ([]byte, error) {
	res, cancel, err := o.get(ctx, name, 0) //nolint:bodyclose // cancel closes it
	if err != nil {
		return nil, err
	}
	defer cancel()
	stalled := time.AfterFunc(stall, cancel)
	defer stalled.Stop()
	data, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, &ReleaseError{fmt.Sprintf("the download of %s ended after %d bytes: %v", name, len(data), err), "run this again"}
	case int64(len(data)) > limit:
		return nil, &ReleaseError{fmt.Sprintf("%s%s is larger than %d bytes", o.Release, name, limit), "check the address of the release"}
	}
	return data, nil
}

// A missingFileError says that the server does not have a file.
type missingFileError struct{ ReleaseError }

// get requests a file of the release, from an offset on.
func (o *Options) get(ctx context.Context, name string, from int64) (*http.Response, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Release+name, nil)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "appliance")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	res, err := o.Client.Do(req)
	if err != nil {
		cancel()
		return nil, nil, &ReleaseError{"the release cannot be downloaded: " + err.Error(), "try again; what was downloaded is kept"}
	}
	done := func() { _ = res.Body.Close(); cancel() }
	if res.StatusCode == http.StatusNotFound {
		done()
		return nil, nil, &missingFileError{ReleaseError{fmt.Sprintf("%s%s: the server answered %s", o.Release, name, res.Status), "check the address of the release"}}
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent && res.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		done()
		return nil, nil, &ReleaseError{fmt.Sprintf("%s%s: the server answered %s", o.Release, name, res.Status), "check the address of the release"}
	}
	return res, done, nil
}

// download fetches the program to a file beside the present one and returns that file, which is
// locked until done is called. What an earlier run downloaded is not requested again; resumed
// says so.
func (o *Options) download(ctx context.Context, want string) (name string, resumed bool, done func(), err error) {
	dir, base := filepath.Split(o.Program)
	name = filepath.Join(dir, "."+base+"-"+want[:16]+".part")
	o.forget(name)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // beside the program
	if errors.Is(err, fs.ErrPermission) {
		return "", false, nil, &ReleaseError{"cannot write beside " + o.Program, "run it again with: sudo"}
	}
	if err != nil {
		return "", false, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // one that is open for writing cannot be started
	lock, err := os.Open(name)                           //nolint:gosec // as above
	if err != nil {
		return "", false, nil, err
	}
	unlock := func() { _ = lock.Close() }
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		return "", false, nil, &ReleaseError{"another self-update is running", "wait until it is done"}
	}
	if resumed, err = o.fill(ctx, f); err != nil {
		return "", resumed, nil, err
	}
	return name, resumed, unlock, f.Sync()
}

// forget removes the downloads of other releases.
func (o *Options) forget(but string) {
	dir, base := filepath.Split(o.Program)
	others, _ := filepath.Glob(filepath.Join(dir, "."+base+"-*.part"))
	for _, other := range others {
		if other != but {
			_ = os.Remove(other)
		}
	}
}

func (o *Options) fill(ctx context.Context, f *os.File) (resumed bool, err error) {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	res, cancel, err := o.get(ctx, Name(), have) //nolint:bodyclose // cancel closes it
	if err != nil {
		return false, err
	}
	defer cancel()
	if res.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return true, nil // all of it is here, or the checksum will say
	}
	if res.StatusCode == http.StatusOK && have > 0 { // the server starts from the beginning
		if have, err = 0, f.Truncate(0); err != nil {
			return false, err
		}
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return false, err
	}
	total := int64(-1)
	if res.ContentLength >= 0 {
		total = have + res.ContentLength
	}
	stalled := time.AfterFunc(stall, cancel)
	defer stalled.Stop()
	n, err := io.Copy(f, &counted{r: io.LimitReader(res.Body, programLimit-have), at: have, hear: func(at int64) {
		stalled.Reset(stall)
		o.Progress("download "+Name(), at, max(total, 0))
	}})
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return have > 0, &ReleaseError{"the disk that holds " + filepath.Dir(f.Name()) + " is full", "free some space and run this again: it resumes where it stopped"}
	case ctx.Err() != nil:
		return have > 0, ctx.Err()
	case err != nil || total >= 0 && have+n != total:
		return have > 0, &ReleaseError{fmt.Sprintf("the download ended after %d bytes: %v", have+n, err), "run this again: it resumes where it stopped"}
	}
	return have > 0, nil
}

// counted reports how far reading has got, but not too often.
type counted struct {
	r     io.Reader
	at    int64
	shown time.Time
	hear  func(at int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.at += int64(n)
	if now := time.Now(); now.Sub(c.shown) > 100*time.Millisecond {
		c.shown = now
		c.hear(c.at)
	}
	return n, err
}
