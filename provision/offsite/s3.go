package offsite

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	partSize = 16 << 20 // of an upload in parts, at least
	maxParts = 9_000    // S3 takes 10,000
	tries    = 5        // of one request, with pauses of up to a second
)

type s3Store struct {
	client         *minio.Client
	host           string
	bucket, prefix string
	keyFile        string
	answer         string // the key of the answer with the URL
}

func openS3(u *url.URL, c Config) (Store, error) {
	access, secret, err := Keys(c.KeyFile)
	if err != nil {
		return nil, err
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(access, secret, ""),
		Secure: u.Scheme == "s3", MaxRetries: cmp.Or(c.Tries, tries), Region: c.Region,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: 2 * stall, DisableCompression: true, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		},
	})
	if err != nil {
		return nil, err
	}
	return &s3Store{client: client, host: u.Host, bucket: bucket, prefix: prefix, keyFile: c.KeyFile, answer: cmp.Or(c.Answer, "backup_offsite")}, nil
}

func (s *s3Store) key(name string) string { return path.Join(s.prefix, name) }

func (s *s3Store) List(ctx context.Context) ([]Object, error) {
	below := s.prefix
	if below != "" {
		below += "/"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	var out []Object
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: below}) {
		if o.Err != nil {
			return nil, s.explain(o.Err)
		}
		if len(out) >= 100_000 {
			return nil, fmt.Errorf("%s: more than %d files in %s", s.host, len(out), s.bucket)
		}
		if !strings.HasSuffix(o.Key, "/") {
			out = append(out, Object{strings.TrimPrefix(o.Key, below), o.Size, o.LastModified})
		}
	}
	return out, nil
}

// Put sends a large file in parts that are read from the file itself, two at a time.
func (s *s3Store) Put(ctx context.Context, name string, from File, size int64) error {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", NumThreads: 2, PartSize: uint64(max(partSize, (size/maxParts>>20+1)<<20))}
	_, err := s.client.PutObject(ctx, s.bucket, s.key(name), from, size, o)
	if err != nil && size > int64(o.PartSize) { // it was sent in parts
		_ = s.client.RemoveIncompleteUpload(context.WithoutCancel(ctx), s.bucket, s.key(name))
	}
	return s.explain(err)
}

func (s *s3Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := s.client.GetObject(ctx, s.bucket, s.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, s.explain(err)
	}
	if _, err := o.Stat(); err != nil { // this makes the actual request
		_ = o.Close()
		return nil, s.explain(err)
	}
	return &reading{o, s}, nil
}

// reading is a file being read, whose errors say what to do.
type reading struct {
	*minio.Object
	from *s3Store
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.Object.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.from.explain(err)
	}
	return n, err
}

func (s *s3Store) Remove(ctx context.Context, name string) error {
	return s.explain(s.client.RemoveObject(ctx, s.bucket, s.key(name), minio.RemoveObjectOptions{}))
}

func (s *s3Store) Close() error { return nil }

// explain adds advice to the error codes of S3.
func (s *s3Store) explain(err error) error {
	if err == nil {
		return nil
	}
	res := minio.ToErrorResponse(err)
	advice := ""
	switch res.Code {
	case minio.InvalidAccessKeyID, minio.SignatureDoesNotMatch:
		advice = "correct the access key and the secret key in " + s.keyFile
	case minio.AccessDenied:
		advice = "let the access key list, read, write and delete in the bucket " + s.bucket
	case "AuthorizationHeaderMalformed", "InvalidRegion":
		if s.answer == "uploads" {
			advice = "name the region of the bucket: appliance config set uploads_region=" + cmp.Or(res.Region, "...")
		}
	case minio.NoSuchBucket:
		advice = "create the bucket " + s.bucket + " there"
	case minio.NoSuchKey:
		advice = "see what is there: appliance backup list"
	case "RequestTimeTooSkewed", "RequestExpired":
		advice = "set the clock of this host: timedatectl set-ntp true"
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "EntityTooLarge", "XMinioAdminBucketQuotaExceeded":
		advice = "make room there: keep fewer backups with backup_offsite_keep or backup_offsite_days, or enlarge the bucket"
		if s.answer == "uploads" {
			advice = "make room there, or enlarge the bucket"
		}
	case "SlowDown", "ServiceUnavailable", "InternalError":
		advice = "the storage is overloaded or down; the next backup tries again, or do so now: appliance backup"
	}
	if advice == "" {
		advice = "check the answer " + s.answer + ", and that this host reaches " + s.host
	}
	if whole, ok := errors.AsType[*url.Error](err); ok {
		err = whole.Err
	} else if res.Code != "" {
		err = fmt.Errorf("%s (%s)", strings.TrimSuffix(res.Message, "."), res.Code)
	}
	return &Error{s.host, err, advice}
}
