package model

const (
	// Lanes is how many portals and directions are served at once. Each waits for
	// the network most of the time.
	Lanes = 64
	// FileLanes is how many files that follow their messages are carried at once.
	FileLanes = 16
)
