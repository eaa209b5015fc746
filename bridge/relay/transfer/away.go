package transfer

import (
	"context"
	"time"
)

// answerTime is how soon a server answers that is neither paused nor cut off.
const answerTime = time.Second / 2

// A Side tells whether its server answers. The error is model.ErrUnavailable.
type Side interface {
	Answers(ctx context.Context) error
}

// Away returns why one of the two servers between which files are carried does not answer,
// nil when both do. A file that waits for one of them must not follow its message later: as
// soon as that server is back, what comes after the message would be before the file.
func Away(ctx context.Context, sides ...Side) error {
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for _, s := range sides {
		if err := s.Answers(limited); err != nil {
			return err
		}
	}
	return nil
}
