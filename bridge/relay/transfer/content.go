package transfer

import (
	"bufio"
	"io"
	"net/http"
)

// headSize is how many bytes of a file are inspected: the dimensions of a JPEG come after
// up to 64 KB of what a camera writes.
const headSize = 96 << 10

// FirstType returns the first content type that is meaningful.
func FirstType(types ...string) string {
	for _, t := range types {
		if t != "" && t != "application/octet-stream" {
			return t
		}
	}
	return ""
}

// Peek returns a reader of the whole body, and its first bytes.
func Peek(body io.Reader) (io.Reader, []byte) {
	b := bufio.NewReaderSize(body, headSize)
	head, _ := b.Peek(headSize) // an error recurs when the body is read
	return b, head
}

// Looks returns the content type that the first bytes of a file suggest.
func Looks(head []byte) string {
	if len(head) == 0 {
		return ""
	}
	return http.DetectContentType(head)
}

// Counter counts the bytes that are read.
type Counter struct {
	r io.Reader
	c io.Closer
	n int64
}

// NewCounter returns a Counter that reads from r and closes c.
func NewCounter(r io.Reader, c io.Closer) *Counter { return &Counter{r: r, c: c} }

// Count returns how many bytes were read.
func (c *Counter) Count() int64 { return c.n }

func (c *Counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *Counter) Close() error { return c.c.Close() }
