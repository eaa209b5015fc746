//go:build deps

// Package main pins modules while the packages that use them are being written.
package main

import (
	_ "github.com/AlecAivazis/survey/v2"
	_ "github.com/Netflix/go-expect"
	_ "github.com/coder/websocket"
	_ "github.com/compose-spec/compose-go/v2/cli"
	_ "github.com/creack/pty"
	_ "github.com/docker/docker/client"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/hinshun/vt10x"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/letsencrypt/pebble/v2/ca"
	_ "github.com/microcosm-cc/bluemonday"
	_ "github.com/pressly/goose/v3"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "github.com/yuin/goldmark"
	_ "go.uber.org/goleak"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/crypto/acme/autocert"
	_ "golang.org/x/sync/errgroup"
	_ "maunium.net/go/mautrix"
	_ "modernc.org/sqlite"
	_ "pgregory.net/rapid"
)

func main() {}
