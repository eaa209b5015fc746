package mxside

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"appliance/bridge/ids"
)

// parts holds the components that strategies are made of.
type parts struct {
	client       *client
	team         *team
	contact      *contact
	pings        *pings
	transactions *transactions
	rereads      *rereads
	probes       *probes
	replay       *replay
	inbox        *inbox
	syncer       *syncer
	ephemeral    *ephemeral
	sweepPause   time.Duration
}

// pushed is the strategy for a homeserver whose transactions bring everything, in order,
// and are repeated until they are accepted, as the Application Service API requires.
type pushed struct {
	pings        *pings
	transactions *transactions
	rereads      *rereads
}

func (p *pushed) run(ctx context.Context, running *sync.WaitGroup) {
	if len(p.rereads.traits.Rereads) > 0 {
		running.Go(func() { p.rereads.run(ctx) })
	}
}

func (p *pushed) lead(context.Context, *sync.WaitGroup) {}

func (p *pushed) keep(ctx context.Context) error {
	if err := p.pings.ask(ctx); err != nil {
		return err
	}
	p.pings.contact.answered()
	wait(ctx, pingEvery)
	return ctx.Err()
}

func (p *pushed) lost() { p.pings.contact.lost() }

func (p *pushed) take(ctx context.Context, _ string, events []json.RawMessage) (status int, why string) {
	return p.transactions.store(ctx, events)
}

func (p *pushed) follow(ids.MXUser) {}
