package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A storm is chaos: people write, edit, react, answer and delete in many rooms while
// faults happen around them. A seed determines what happens, as far as clocks allow.
type storm struct {
	*demo
	seed  uint64
	last  time.Duration // how long the faults go on
	rooms int
	// docker says that Docker is restarted too, with all that it runs on this machine.
	docker bool
	once   bool // both sides are read until they agree, and not again later
}

const (
	stormRate    = 6               // actions a second, all rooms and both ways together
	stormMoves   = 2 * time.Second // between two joins or leaves, all rooms together
	stormCalm    = 3 * time.Second // between two faults, at least
	stormUnrest  = 9 * time.Second // and how much longer at most
	stormCatchUp = 8 * time.Minute // for what is queued when the faults end
	// stormMembers is for members: homeservers that were cut off from each other may
	// revert a membership silently, which the bridge notices when it compares the rooms.
	stormMembers = 13 * time.Minute
	// stormAgain is when both sides are read once more: a Dendrite that was stopped
	// processes again, after 5 minutes and 10 seconds, what was in flight.
	stormAgain = 345 * time.Second
	stormLife  = 3 * time.Minute // of certificates: they are renewed again and again
)

// blow is the whole storm: rooms, load, faults, and the comparison of both sides.
func (d storm) blow(ctx context.Context) (err error) {
	if d.rooms < 1 || d.rooms > 200 || d.last < time.Second || d.last > 24*time.Hour {
		return errors.New("chaos takes -rooms from 1 to 200 and -for from 1s to 24h")
	}
	ctx, cancel := context.WithTimeout(ctx, d.last+stormMembers+stormAgain+time.Duration(d.rooms)*patience)
	defer cancel()
	d.say("chaos: seed %d, %d rooms, faults for %s", d.seed, d.rooms, d.last)
	restore, err := d.prepare(ctx) // first: people trust a different authority afterwards
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore(context.WithoutCancel(ctx))) }()
	c, admin, err := d.enter(ctx, "meter", "Meter", []string{"user", "bot"}) // bot: no limit on requests
	if err != nil {
		return err
	}
	within := inside(d.demo)
	arrived := &arrivals{at: map[string]int{}, lag: newLag()}
	late := &followers{events: map[string]bool{}}
	stages, err := d.stages(ctx, c, within, arrived, late)
	if err != nil {
		return err
	}
	watching, rest := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { arrived.watch(watching, *within) })
	watched.Go(func() { late.watch(watching, d.demo) })
	defer func() { rest(); watched.Wait() }()
	if err := d.guests(ctx, c, admin, stages); err != nil {
		return err
	}
	faults, err := d.rage(ctx, stages)
	if err != nil {
		return err
	}
	if err := d.compare(ctx, stages, faults); err != nil {
		d.inquire(context.WithoutCancel(ctx))
		return err
	}
	return nil
}

// inquire prints what the bridge itself reports about what did not arrive.
func (d storm) inquire(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, list := range []string{"dead", "list"} {
		said, err := d.command(ctx, d.program, "queue", list, "--dir", d.install())
		d.say("appliance queue %s: %s", list, cmp.Or(strings.TrimSpace(said), fmt.Sprint(err)))
	}
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

// A stage is a room with one writer on either side.
type stage struct {
	name         string
	room, mxRoom string
	chat         *chatWriter
	matrix       *matrixWriter
	witness      *matrixWriter // reads what the homeserver of the bridge shows; says nothing
	fromRC       *script       // what was done in Rocket.Chat
	fromMX       *script       // what was done on Matrix
	told         *script       // the same as the bridge's homeserver had it when it was last judged
	moved        int           // messages that this homeserver has in two orders; see arrivals.markMoved
	late         *followers    // files whose place is not promised
	followed     int           // such files in this room
	guests       []*guest
}

// stages makes the rooms and brings both people in.
func (d storm) stages(ctx context.Context, c *cast, within *matrixUser, arrived *arrivals, late *followers) ([]*stage, error) {
	stamp := time.Now().UnixMilli()
	stages := make([]*stage, d.rooms)
	for i := range stages {
		s := &stage{name: fmt.Sprintf("chaos-%x-%d", stamp, i), fromRC: &script{prefix: ownPrefix}, fromMX: &script{prefix: "m "}}
		var err error
		if s.room, s.mxRoom, err = c.meet(ctx, s.name); err == nil {
			err = c.warmUp(ctx, s.room, s.mxRoom)
		}
		if err != nil {
			return nil, fmt.Errorf("room %d: %w", i, err)
		}
		s.chat, s.matrix = &chatWriter{c.alice, s.room}, &matrixWriter{matrixUser: c.bob, room: s.mxRoom, lag: arrived.lag}
		s.witness, s.late = &matrixWriter{matrixUser: within, room: s.mxRoom, timeline: arrived}, late
		stages[i] = s
	}
	return stages, nil
}

// rage lets people act and faults happen until the time is up, and ends the faults.
func (d storm) rage(ctx context.Context, stages []*stage) (faults []string, err error) {
	over, end := context.WithTimeout(ctx, d.last)
	defer end()
	g, gctx := errgroup.WithContext(ctx)
	pause := time.Duration(2*len(stages)) * time.Second / stormRate
	guests := 0
	for _, s := range stages {
		guests += len(s.guests)
	}
	stay := max(shortestStay, time.Duration(guests)*stormMoves*2/3) // on average they stay half as long again
	behind := stages[0].witness.timeline.lag
	for i, s := range stages {
		g.Go(func() error { return act(gctx, over, behind, s.fromRC, s.chat, d.random(4*i), pause) })
		g.Go(func() error { return act(gctx, over, behind, s.fromMX, s.matrix, d.random(4*i+1), pause) })
		for j, guest := range s.guests {
			g.Go(func() error { return guest.visit(gctx, over, d.random(4*i+2+j), stay) })
		}
	}
	g.Go(func() (err error) {
		faults, err = d.disturb(gctx, over)
		return err
	})
	return faults, g.Wait()
}

// random returns a separate source for each actor, so that one that waits for a server
// does not change what the others do.
func (d storm) random(n int) *rand.Rand {
	return rand.New(rand.NewPCG(d.seed, uint64(n))) //nolint:gosec // repeatable on purpose
}

// disturb makes one fault after the other until over ends. A fault that has begun is
// always undone.
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

// compare waits until both sides agree with what was done, and until the time at which a
// homeserver may process events a second time has passed, and reports what is wrong.
func (d storm) compare(ctx context.Context, stages []*stage, faults []string) error {
	start := time.Now()
	if err := d.agree(ctx, start, stages); err != nil {
		return err
	}
	caught := time.Since(start)
	if !d.once {
		rest := max(5*time.Second, stormAgain-caught)
		d.say("both sides agree after %.1f s; in %s they are read once more", caught.Seconds(), rest.Round(time.Second))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
		if err := d.agree(ctx, start, stages); err != nil {
			return err
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
	d.say("%s", (&verdict{}).String())
	differ, moved, followed := 0, 0, 0
	for _, s := range stages {
		differ, moved, followed = differ+s.fromMX.differs(s.told), moved+s.moved, followed+s.followed
	}
	d.say("bob's server and the bridge's differ about %d messages of his, and the bridge carries what its own one has", differ)
	if followed > 0 {
		d.say("the bridge let %d files follow later, as their server did not send them in time: their place was not judged", followed)
	}
	if moved > 0 {
		d.say("the homeserver itself has %d messages in two orders, in a room's history and as it showed them: their place was not judged", moved)
	}
	if waited := stages[0].witness.timeline.lag.total(start); waited > 0 {
		d.say("people waited for %s, as the homeserver was far behind with what it had been sent", waited.Round(time.Second))
	}
	if n := stages[0].witness.timeline.late.Load(); n > 0 {
		d.say("a room's history had messages of the bridge that the homeserver had not shown, %d times when it was read", n)
	}
	if n := stages[0].witness.timeline.gaps.Load(); n > 0 {
		d.say("the homeserver left events out of what it showed at once %d times: their order is that of the room's history", n)
	}
	return nil
}

// agree reads both sides until they agree with what was done; a room in which they do is not
// read again. It is an error when they differ for too long after start.
func (d storm) agree(ctx context.Context, start time.Time, stages []*stage) error {
	for last := ""; ; {
		differ, wrong, err := judge(ctx, stages)
		if err == nil && wrong.fine() {
			return nil
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
		stages = differ
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// judge reads both sides of some rooms, and returns those in which something is wrong or
// that could not be read.
func judge(ctx context.Context, stages []*stage) (differ []*stage, all verdict, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, s := range stages {
		g.Go(func() error {
			v, err := s.judge(ctx)
			mu.Lock()
			defer mu.Unlock()
			if all.add(v); err != nil || !v.fine() {
				differ = append(differ, s)
			}
			return err
		})
	}
	err = g.Wait()
	slices.Sort(all.found) // they come in no order, and are printed again when they change
	slices.Sort(all.worst)
	return differ, all, err
}

var errWrong = errors.New("the two sides differ")
