package transfer

import (
	"context"
	"time"
)

const (
	// answerTime is how soon a server responds that is neither paused nor cut off.
	answerTime = time.Second / 2
	// From slowAttempts attempts on, a server may take slowAnswerTime, so that one that
	// is always slow does not block a room because of a file.
	slowAttempts   = 20
	slowAnswerTime = 10 * time.Second
)

// A Side checks whether its server responds. The error is model.ErrUnavailable.
type Side interface {
	Answers(ctx context.Context) error
}

// Away returns why one of the two servers of a file transfer does not respond, or nil if
// both do. A file that waits for one of them must not follow its message later: once that
// server is back, later messages would arrive before the file. attempts is how often the
// message was tried before.
func Away(ctx context.Context, attempts int, sides ...Side) error {
	within := answerTime
	if attempts >= slowAttempts {
		within = slowAnswerTime
	}
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, s := range sides {
		if err := s.Answers(limited); err != nil {
			return err
		}
	}
	return nil
}
