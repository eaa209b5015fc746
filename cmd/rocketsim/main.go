// Command rocketsim serves the Rocket.Chat simulator of bridge/rocketchat/rctest
// for demonstrations and end-to-end tests. It is not Rocket.Chat. It takes
// Rocket.Chat's own environment and has four flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"appliance/bridge/rocketchat/rctest/sim"
	"appliance/provision/external/mongotest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "rocketsim:", err)
		}
		os.Exit(1)
	}
}

const usage = `rocketsim [--data FILE] [--rude SEED] [--version VERSION] | --database ADDRESS

A simulator of Rocket.Chat %s for tests and demonstrations; it is not Rocket.Chat.
It listens on PORT (default 3000) and reads Rocket.Chat's environment: ROOT_URL,
ADMIN_USERNAME, ADMIN_PASS, ADMIN_EMAIL, ADMIN_NAME, INITIAL_USER,
OVERWRITE_SETTING_<Id>, <Id>, SETTINGS_BLOCKED, CREATE_TOKENS_FOR_USERS,
CREATE_TOKENS_FOR_USERS_SECRET, HTTP_FORWARDED_COUNT, TEST_MODE. MONGO_URL is ignored.

With --database it is no Rocket.Chat, but answers at the address what an installation asks of
a MongoDB before it uses it. It keeps nothing.

`

func run(ctx context.Context, args []string, logTo *os.File) error {
	flags := flag.NewFlagSet("rocketsim", flag.ContinueOnError)
	data := flags.String("data", "", "keep everything in this `file` (default: in memory)")
	rude := flags.String("rude", "", "be unpleasant, in the way that this `seed` gives")
	version := flags.String("version", sim.DefaultVersion, "be this `version` of Rocket.Chat")
	database := flags.String("database", "", "stand in for MongoDB at this `address`")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), usage, strings.Join(sim.Versions(), ", "))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(logTo, nil))
	if *database != "" {
		return standIn(ctx, *database, log)
	}
	options := sim.Options{Version: *version, Record: os.Getenv("APPLIANCE_RECORD"), Env: os.Getenv, Environ: os.Environ(), Data: *data, Log: log}
	if *rude != "" {
		seed, err := strconv.ParseUint(*rude, 0, 64)
		if err != nil {
			return fmt.Errorf("--rude: %w", err)
		}
		options.Rude = sim.NewRude(seed)
	}
	engine, err := sim.New(options)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, engine, log, *rude), engine.Close())
}

// standIn responds like a MongoDB until ctx ends.
func standIn(ctx context.Context, address string, log *slog.Logger) error {
	server := &mongotest.Server{Version: "8.0.0", Set: "rs0"}
	if err := server.Start(address, nil); err != nil {
		return err
	}
	defer server.Close()
	log.Info("THIS STANDS IN FOR MONGODB, AND KEEPS NOTHING", "listen", server.Address())
	<-ctx.Done()
	return nil
}

// serve listens on PORT until ctx ends.
func serve(ctx context.Context, engine *sim.Engine, log *slog.Logger, rude string) error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return err
	}
	log.Info("THIS IS ROCKETSIM, A SIMULATOR, AND NOT ROCKET.CHAT", "simulates", engine.Version(),
		"listen", listener.Addr().String(), "root_url", os.Getenv("ROOT_URL"), "rude", rude)
	server := &http.Server{Handler: engine, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := context.AfterFunc(ctx, func() {
		engine.DropConnections()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // clients still being served after the grace period are cut off
	})
	defer done()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
