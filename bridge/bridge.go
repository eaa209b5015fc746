// Package bridge is the running bridge: it wires the two sides, the relay, the store and
// the slash commands together, serves the HTTP requests of the homeserver, the web server
// and the operator, and follows its configuration file while it runs. It imports nothing
// from provisioning: it also runs on its own, with an existing Rocket.Chat and
// homeserver.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/command"
	"appliance/bridge/config"
	"appliance/bridge/console"
	"appliance/bridge/ids"
	"appliance/bridge/metrics"
	"appliance/bridge/mxside"
	"appliance/bridge/queue"
	"appliance/bridge/rcside"
	"appliance/bridge/relay"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/bridge/store"
	"appliance/bridge/trace"
)

// Options are the settings of Run.
type Options struct {
	ConfigFile string
	Version    string
	// Log is where the bridge writes; its level follows the configuration if Level is the
	// one the handler was created with.
	Log   *slog.Logger
	Level *slog.LevelVar
	// HostFile is the file that the operator's program leaves for the console
	// (hoststatus); "" if there is no such program.
	HostFile string
	// Often is the interval of periodic work such as comparing rooms and reading ghosts;
	// 0 is the default.
	Often time.Duration
	// Store has options for opening the database beyond the configuration.
	Store []store.Option
}

// service is a running bridge.
type service struct {
	Options
	current atomic.Pointer[config.Config]
	refused atomic.Pointer[string] // why the newest file is not in force, or nil
	reloads reloads
	store   *store.Store
	relay   *relay.Relay
	rc      *rcside.Side
	mx      *mxside.Side
	front   *command.Front
	metrics *metrics.Metrics
	trace   *trace.Tracer // nil if no collector is configured
	console *console.Console
	history console.History
	traffic console.Traffic
	tail    console.Tail
	carried atomic.Int64 // items that this process has delivered
	reads   atomic.Bool  // this process holds the role reading

	operatorToken secret.String
}

// Run runs a bridge until ctx ends. It fails at once if the configuration or the database
// cannot be used; it waits for networks that do not answer.
func Run(ctx context.Context, o Options) error {
	if o.Level == nil {
		o.Level = new(slog.LevelVar)
	}
	s := &service{Options: o}
	o.Log = slog.New(s.tail.Handler(o.Log.Handler()))
	s.Log = o.Log
	cfg, err := config.Load(o.ConfigFile)
	if err != nil {
		return err
	}
	secrets, err := config.ReadSecrets(cfg.Fixed)
	if err != nil {
		return err
	}
	s.put(cfg)
	if s.store, err = store.Open(ctx, cfg.Database, append([]store.Option{store.WithLog(o.Log)}, o.Store...)...); err != nil {
		return err
	}
	defer func() { _ = s.store.Close() }()
	if err := keepNamespace(ctx, s.store, namespace(cfg.Fixed)); err != nil {
		return err
	}
	if err := s.wire(cfg.Fixed, secrets); err != nil {
		return err
	}
	if err := s.rc.Begin(ctx); err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.AppService.Listen)
	if err != nil {
		return fmt.Errorf("appservice.listen: %w", err)
	}
	s.Log.Info("the bridge is running", "version", o.Version, "listen", ln.Addr().String(), "domain", cfg.Homeserver.Domain)
	return s.run(ctx, ln)
}

// wire connects the parts. The relay and the sides need each other, so the
// relay is filled in last.
func (s *service) wire(f config.Fixed, secrets config.Secrets) error {
	names := namespace(f)
	s.metrics = metrics.New(metrics.Options{
		Version: s.Version, Store: s.store, Enabled: func() bool { return s.current.Load().Enabled },
		Connected: func() (rocketchat, matrix bool) { return s.rc.Connected(), s.mx.Connected() },
	})
	s.trace = trace.New(trace.Options{
		Endpoint: f.Traces.Endpoint, Headers: secrets.TraceHeaders, Version: s.Version, Process: s.store.Process(), Counted: s.metrics.Spans, Log: s.Log,
		Percent: func() int { return s.current.Load().TracePercent },
	})
	s.relay = &relay.Relay{
		Store: s.store, Names: names, Site: f.RocketChat.SiteURL, Log: s.Log, Delivered: s.delivered,
		GaveUp: s.metrics.GaveUp, Trace: s.trace,
		Heard:          func(server string, gaveUp bool) { s.traffic.Heard(server, gaveUp, time.Now()) },
		ReconcileEvery: s.Often, Now: s.store.Now,
		Live: func() config.Live { return s.current.Load().Live },
	}
	client := rocketchat.New(f.RocketChat.URL, f.RocketChat.UserID, secrets.RocketChatToken).
		Through(func(next http.RoundTripper) http.RoundTripper { return s.watched(metrics.RocketChat, next) }).Guarded(queue.Held)
	s.operatorToken = config.OperatorToken(secrets.RocketChatToken)
	var led func() bool
	var others mxside.Team
	if s.store.Shared() {
		s.relay.Lock = s.store.Lock
		led, others = s.led, team{s.store}
	}
	s.rc = rcside.New(rcside.Options{
		Client: client, CreateTokenSecret: secrets.CreateTokenSecret, Store: s.store, Accept: s.relay.Accept,
		Ephemeral: s.relay, Live: s.relay.Live,
		Log: s.Log.With("side", "rocketchat"), PeopleEvery: s.Often, Now: s.store.Now, Led: led,
		Reconnects: func() { s.metrics.Reconnects(metrics.RocketChat) },
	})
	var err error
	s.mx, err = mxside.New(mxside.Options{
		URL: f.Homeserver.URL, Kind: f.Homeserver.Kind, ID: f.AppService.ID, ASToken: secrets.ASToken, HSToken: secrets.HSToken, Names: names, Store: s.store,
		Accept: s.relay.Accept, Ephemeral: s.relay, Live: s.relay.Live, SweepPause: s.Often, Log: s.Log.With("side", "matrix"), Team: others,
		Person: func(ctx context.Context, user ids.MXUser) (bool, error) {
			_, ok, err := s.relay.Person(ctx, user)
			return ok, err
		},
		Alias:      s.relay.Alias,
		Through:    func(next http.RoundTripper) http.RoundTripper { return s.watched(metrics.Matrix, next) },
		Reconnects: func() { s.metrics.Reconnects(metrics.Matrix) },
	})
	if err != nil {
		return err
	}
	s.relay.RC, s.relay.MX = s.rc, s.mx
	s.store.OnWork(s.relay.Wake)
	commands := &command.Commands{Client: client, Bridge: s.relay.Commands(), Answers: s.rc, Operator: chatOperator{s}, Live: s.relay.Live, Log: s.Log}
	s.relay.Typed = commands.Typed
	if s.front, err = command.NewFront(commands, f.RocketChat.URL); err != nil {
		return err
	}
	return s.openConsole(client)
}

// watched counts the requests to a server, and traces those that belong to a message.
func (s *service) watched(server string, next http.RoundTripper) http.RoundTripper {
	return s.trace.Transport(server, s.metrics.Transport(server, next), metrics.Endpoint)
}

// run runs everything until ctx ends or a part fails.
func (s *service) run(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	srv.RegisterOnShutdown(s.console.Close)
	defer s.trace.Start()() // sends the rest once all deliveries have ended
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.relay.Run(ctx) })
	g.Go(func() error { return s.mx.Listen(ctx) })
	g.Go(func() error { return s.store.Lead(ctx, reading, s.lead) })
	g.Go(func() error { return s.keepUp(ctx) })
	g.Go(func() error { return config.Watch(ctx, s.ConfigFile, s.reload) })
	g.Go(func() error { return s.hangups(ctx) })
	g.Go(func() error { return s.releasePages(ctx) })
	g.Go(func() error { return s.adaptProcessors(ctx) })
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return ignoreDeadline(srv.Shutdown(grace))
	})
	err := g.Wait()
	s.Log.Info("the bridge is stopping", "err", err)
	return err
}

func ignoreDeadline(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// hangups reloads on SIGHUP, for systems where file changes go unnoticed.
func (s *service) hangups(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			s.reload()
		}
	}
}

// prune deletes records too old to be needed again, once a day.
func (s *service) prune(ctx context.Context) error {
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		if err := s.store.Prune(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.Log.Warn("old records could not be removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// put puts a configuration in force.
func (s *service) put(c config.Config) {
	s.current.Store(&c)
	s.refused.Store(nil)
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err == nil {
		s.Level.Set(level)
	}
}
