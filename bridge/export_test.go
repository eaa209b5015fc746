package bridge

import (
	"context"
	"net/http"

	"appliance/bridge/config"
	"appliance/bridge/store"
)

// ConsoleOf returns the pages of a bridge that is not running: it serves what is stored,
// and neither reads nor carries anything.
func ConsoleOf(ctx context.Context, o Options) (pages http.Handler, end func() error, err error) {
	s := &service{Options: o}
	cfg, err := config.Load(o.ConfigFile)
	if err != nil {
		return nil, nil, err
	}
	secrets, err := config.ReadSecrets(cfg.Fixed)
	if err != nil {
		return nil, nil, err
	}
	s.put(cfg)
	if s.store, err = store.Open(ctx, cfg.Database); err != nil {
		return nil, nil, err
	}
	if err := s.wire(cfg.Fixed, secrets); err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	s.console.Routes(mux)
	return mux, s.store.Close, nil
}
