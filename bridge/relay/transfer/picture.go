package transfer

import (
	"time"
)

const (
	// MaxPortrait bounds the size of a person's picture in bytes: it is held in memory.
	MaxPortrait = 2 << 20
)

// MaxAvatar bounds the size of a room's picture in bytes: it is held in memory.
const MaxAvatar = 2 << 20

const (
	// PicturePatience is how long the transfer of a picture may stall.
	PicturePatience = 10 * time.Second
)
