package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A storm is chaos: people write, edit, react, answer and delete in many rooms, and
// faults go on around them. What happens follows from a seed, as far as clocks let it.
type storm struct {
	*demo
	seed  uint64
	last  time.Duration // how long the faults go on
	rooms int
	// docker says that Docker is restarted too, with all that runs on this machine.
	docker bool
}

const (
	stormRate    = 12              // actions a second, all rooms and both ways together
	stormCalm    = 3 * time.Second // between two faults, at least
	stormUnrest  = 9 * time.Second // and how much longer at most
	stormCatchUp = 6 * time.Minute // for what is queued when the faults end
	// stormMembers is for members: homeservers that were cut off from each other may take a
	// membership back without a word, which the bridge finds when it compares the rooms.
	stormMembers = 13 * time.Minute
	stormLife    = 3 * time.Minute // of certificates: they are renewed again and again
)

// blow is the whole storm: rooms, load, faults, and the comparison of both sides.
func (d storm) blow(ctx context.Context) (err error) {
	if d.rooms < 1 || d.rooms > 200 || d.last < time.Second || d.last > 24*time.Hour {
		return errors.New("chaos takes -rooms from 1 to 200 and -for from 1s to 24h")
	}
	ctx, cancel := context.WithTimeout(ctx, d.last+stormMembers+time.Duration(d.rooms)*patience)
	defer cancel()
	d.say("chaos: seed %d, %d rooms, faults for %s", d.seed, d.rooms, d.last)
	restore, err := d.prepare(ctx) // first: the authority that people trust is another afterwards
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore(context.WithoutCancel(ctx))) }()
	c, admin, err := d.enter(ctx, "meter", "Meter", []string{"user", "bot"}) // bot: no limit on requests
	if err != nil {
		return err
	}
	stages, err := d.stages(ctx, c)
	if err != nil {
		return err
	}
	if err := d.guests(ctx, c, admin, stages); err != nil {
		return err
	}
	faults, err := d.rage(ctx, stages)
	if err != nil {
		return err
	}
	return d.compare(ctx, stages, faults)
}

// prepare makes certificates short-lived, and a small disk for a bridge that keeps its
// database in a file.
func (d storm) prepare(ctx context.Context) (restore func(context.Context) error, err error) {
	if err := (renewal{d.demo}).lifetime(ctx, stormLife); err != nil {
		return nil, err
	}
	release := func(context.Context) error { return nil }
	if !d.replicated() {
		if release, err = (trouble{d.demo}).confine(ctx); err != nil {
			return nil, err
		}
	}
	keeping, stop := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { (world{d.demo}).keepCertificates(keeping) })
	return func(ctx context.Context) error {
		stop()
		kept.Wait()
		return errors.Join(release(ctx), renewal{d.demo}.lifetime(ctx, quarter))
	}, nil
}

// replicated reports whether several bridges share the work of the installation.
func (d storm) replicated() bool {
	data, _ := os.ReadFile(d.path("answers.yaml"))
	return strings.Contains(string(data), "\nbridge_replicas: ")
}

// A stage is a room with one who writes on either side.
type stage struct {
	name         string
	room, mxRoom string
	chat         *chatWriter
	matrix       *matrixWriter
	fromRC       *script // what was done in Rocket.Chat
	fromMX       *script // what was done on Matrix
	guests       []*guest
}

// stages makes the rooms and brings both people in.
func (d storm) stages(ctx context.Context, c *cast) ([]*stage, error) {
	stamp := time.Now().UnixMilli()
	stages := make([]*stage, d.rooms)
	for i := range stages {
		s := &stage{name: fmt.Sprintf("chaos-%x-%d", stamp, i), fromRC: &script{prefix: "r "}, fromMX: &script{prefix: "m "}}
		var err error
		if s.room, s.mxRoom, err = c.meet(ctx, s.name); err == nil {
			err = c.warmUp(ctx, s.room, s.mxRoom)
		}
		if err != nil {
			return nil, fmt.Errorf("room %d: %w", i, err)
		}
		s.chat, s.matrix = &chatWriter{c.alice, s.room}, &matrixWriter{c.bob, s.mxRoom}
		stages[i] = s
	}
	return stages, nil
}

// rage lets people act and faults happen until the time is over, and ends the faults.
func (d storm) rage(ctx context.Context, stages []*stage) (faults []string, err error) {
	over, end := context.WithTimeout(ctx, d.last)
	defer end()
	g, gctx := errgroup.WithContext(ctx)
	pause := time.Duration(2*len(stages)) * time.Second / stormRate
	for i, s := range stages {
		g.Go(func() error { return act(gctx, over, s.fromRC, s.chat, d.random(4*i), pause) })
		g.Go(func() error { return act(gctx, over, s.fromMX, s.matrix, d.random(4*i+1), pause) })
		for j, guest := range s.guests {
			g.Go(func() error { return guest.visit(gctx, over, d.random(4*i+2+j)) })
		}
	}
	g.Go(func() (err error) {
		faults, err = d.disturb(gctx, over)
		return err
	})
	return faults, g.Wait()
}

// random is a source of its own for each who acts, so that one that waits for a
// server does not change what the others do.
func (d storm) random(n int) *rand.Rand {
	return rand.New(rand.NewPCG(d.seed, uint64(n))) //nolint:gosec // repeatable on purpose
}

// disturb makes one fault after the other until over ends. A fault that has begun
// is always taken back.
func (d storm) disturb(ctx, over context.Context) (happened []string, err error) {
	r, start := d.random(-1), time.Now()
	kinds, rare := trouble{d.demo}.kinds(), trouble{d.demo}.rarities(d.docker)
	for {
		select {
		case <-over.Done():
			return happened, ctx.Err()
		case <-time.After(stormCalm + time.Duration(r.Int64N(int64(stormUnrest)))):
		}
		f := kinds[r.IntN(len(kinds))]
		if r.IntN(8) == 0 {
			f = rare[r.IntN(len(rare))]
		}
		length := time.Second + time.Duration(r.Int64N(int64(7*time.Second)))
		d.say("%6.1f s  %s", seconds(start), f.name)
		if err := f.do(ctx, length); err != nil {
			return happened, fmt.Errorf("%s: %w", f.name, err)
		}
		happened = append(happened, f.name)
	}
}

// compare waits until both sides agree with what was done, or nothing has changed for
// too long, and says what is wrong.
func (d storm) compare(ctx context.Context, stages []*stage, faults []string) error {
	start, wrong, last := time.Now(), verdict{}, ""
	for {
		var mu sync.Mutex
		wrong = verdict{}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for _, s := range stages {
			g.Go(func() error {
				v, err := s.judge(gctx)
				mu.Lock()
				defer mu.Unlock()
				wrong.add(v)
				return err
			})
		}
		err := g.Wait()
		if err == nil && wrong.fine() {
			break
		}
		limit := stormCatchUp
		if wrong.onlyMembers() {
			limit = stormMembers
		}
		if time.Since(start) > limit {
			return fmt.Errorf("seed %d: after %s %s: %w", d.seed, limit, wrong.String(), errors.Join(err, errWrong))
		}
		if now := wrong.String(); now != last {
			d.say("%5.1f s after the last fault: %s", time.Since(start).Seconds(), now)
			last = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
	caught := time.Since(start)
	// A second copy would arrive a little later.
	for range 5 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	for _, s := range stages {
		v, err := s.judge(ctx)
		if err != nil {
			return err
		}
		if !v.fine() {
			return fmt.Errorf("seed %d: %s: %s: %w", d.seed, s.name, v.String(), errWrong)
		}
	}
	var done deeds
	for _, s := range stages {
		done.add(s.fromRC.deeds)
		done.add(s.fromMX.deeds)
		for _, g := range s.guests {
			done.moves += g.moves
		}
	}
	d.say("seed %d: %s; %d faults; caught up %.1f s after the last", d.seed, done, len(faults), caught.Seconds())
	d.say("%s", wrong.String())
	return nil
}

var errWrong = errors.New("the two sides differ")
