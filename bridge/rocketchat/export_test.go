package rocketchat

import "time"

// WithPatience returns a client with a shorter stall timeout for transfers.
func (c *Client) WithPatience(d time.Duration) *Client {
	other := *c
	other.patience = d
	return &other
}
