package rocketchat

import "time"

// WithPatience returns a client that waits less for a transfer to go on.
func (c *Client) WithPatience(d time.Duration) *Client {
	other := *c
	other.patience = d
	return &other
}
