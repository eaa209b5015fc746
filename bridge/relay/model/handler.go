package model

import (
	"context"

	"appliance/bridge/queue"
)

// A Handler delivers one item to the other side. The receipts say what it has become
// there. It may be called again for the same item when nobody knows whether the last
// call arrived.
type Handler func(ctx context.Context, item queue.Item) ([]queue.Receipt, error)

// WithoutReceipts makes a Handler of a delivery that leaves no message behind.
func WithoutReceipts(deliver func(ctx context.Context, item queue.Item) error) Handler {
	return func(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
		return nil, deliver(ctx, item)
	}
}

// Accept stores items and cursors in one transaction, and has them delivered. Handing
// over an item twice is fine.
type Accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error
