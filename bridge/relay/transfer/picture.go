package transfer

import (
	"time"
)

const (
	// MaxPortrait bounds a picture of a person, in bytes: it goes through memory.
	MaxPortrait = 2 << 20
)

// MaxAvatar bounds a picture of a room, in bytes: it goes through memory.
const MaxAvatar = 2 << 20

const (
	// PicturePatience is how long a picture may stand still.
	PicturePatience = 10 * time.Second
)
