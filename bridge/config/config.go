// Package config reads bridge.yaml. A Config is a value: it is loaded, validated and then
// never changed; reloading creates a new one. The type tells what a change of a key
// costs: Live keys take effect at once, Fixed keys need a restart. Provisioning renders
// the same struct and calls the same Reload, so a dry run can tell a reload from a
// restart. The only I/O is reading the files it is told to read (Load, ReadSecrets,
// Watch).
package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"appliance/bridge/ids"
)

// Config is everything in bridge.yaml.
type Config struct {
	Fixed `yaml:",inline"`
	Live  `yaml:",inline"`
}

// Fixed keys are read once, when the bridge starts.
type Fixed struct {
	Homeserver Homeserver `yaml:"homeserver"`
	AppService AppService `yaml:"appservice"`
	RocketChat RocketChat `yaml:"rocketchat"`
	// Database is where the bridge keeps what it must not forget:
	// "sqlite:/data/bridge.db" or "postgres://user@host/name?passfile=...".
	Database string `yaml:"database"`
	// Namespace is "native" (@alice:domain is the Rocket.Chat user alice; the
	// homeserver belongs to the appliance alone) or "prefixed" (@rc_alice:domain,
	// beside people of the homeserver's own).
	Namespace string `yaml:"namespace"`
	// GhostPrefix begins the localparts of Rocket.Chat users where Namespace is
	// "prefixed". Bridges that share a homeserver have different ones, of which none
	// begins another.
	GhostPrefix string `yaml:"ghost_prefix"`
	// Keys that came later are left out where they are not set, so that the file of an earlier
	// release stays the same file (plan.Identity).
	Traces Traces `yaml:"traces,omitempty"`
}

// Kinds of homeserver. Package mxside handles how they differ.
const (
	Dendrite = "dendrite"
	Synapse  = "synapse"
	Generic  = "generic" // follows the specification
)

// Homeservers are the values of homeserver.kind.
func Homeservers() []string { return []string{Dendrite, Synapse, Generic} }

// Homeserver says where Matrix is.
type Homeserver struct {
	URL    string `yaml:"url"`    // client-server API as the bridge reaches it: "http://homeserver:8008"
	Domain string `yaml:"domain"` // the server name, the part of "@alice:example.org" after the colon
	Kind   string `yaml:"kind"`   // one of Homeservers
}

// AppService is the bridge as the homeserver sees it. A change of any of these
// keys also changes the registration file, which homeservers read at start only.
type AppService struct {
	ID          string `yaml:"id"`
	URL         string `yaml:"url"`    // where the homeserver reaches the bridge, without a trailing slash
	Listen      string `yaml:"listen"` // address the bridge listens on: ":29328"
	Bot         string `yaml:"bot"`    // localpart of the bridge's own Matrix user
	HSTokenFile string `yaml:"hs_token_file"`
	ASTokenFile string `yaml:"as_token_file"`
}

// Traces configures the OpenTelemetry collector that message traces are sent to. Its keys are fixed,
// because only those with access to the host may choose where traces go and which file is read.
type Traces struct {
	Endpoint string `yaml:"endpoint"` // "http://collector:4318/v1/traces"; "" traces nothing
	// HeadersFile holds headers of each request, one on a line: "Authorization: Bearer x".
	HeadersFile string `yaml:"headers_file"`
}

// RocketChat says where Rocket.Chat is and who the bridge is there.
type RocketChat struct {
	URL                   string `yaml:"url"`      // REST and websocket as the bridge reaches them: "http://rocketchat:3000"
	SiteURL               string `yaml:"site_url"` // Rocket.Chat's Site_Url; message links start with it
	UserID                string `yaml:"user_id"`  // the bridge account's _id
	TokenFile             string `yaml:"token_file"`
	CreateTokenSecretFile string `yaml:"create_token_secret_file"` // CREATE_TOKENS_FOR_USERS_SECRET
}

// Live keys may change while the bridge runs. A delivery reads one snapshot, so
// no message is handled under two configurations.
type Live struct {
	// Enabled carries messages when true. When false, both directions are still
	// stored, and delivered after the bridge is enabled again.
	Enabled bool `yaml:"enabled"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// Servers says with which Matrix servers people may talk.
	Servers Servers `yaml:"servers"`
	// Users says with which Matrix users people may talk.
	Users People `yaml:"users"`
	// Permissions say who of Rocket.Chat may do what.
	Permissions Permissions `yaml:"permissions"`
	// Flood limits what comes from Matrix.
	Flood Flood `yaml:"flood"`
	// PublicChannels are the public channels that Matrix finds and joins by alias:
	// names or patterns.
	PublicChannels []string `yaml:"public_channels"`
	// Typing, Receipts and Presence say whether people on one side see who
	// types, who has read and who is there on the other. What is off is not
	// read from either side.
	Typing   bool `yaml:"typing"`
	Receipts bool `yaml:"receipts"`
	Presence bool `yaml:"presence"`
	// TracePercent is how many of a hundred messages are traced, where Traces name a
	// collector.
	TracePercent int `yaml:"trace_percent"`
}

// Servers are lists of globs over server names, such as "*.example.org". A
// server is allowed when it matches Allow and does not match Deny.
type Servers struct {
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`
}

// Default returns the values of keys that may be left out.
func Default() Config {
	return Config{
		Fixed: Fixed{
			Homeserver: Homeserver{Kind: Dendrite},
			AppService: AppService{ID: "rocketchat", Listen: ":29328", Bot: "rocket.cat"},
			Namespace:  "native", GhostPrefix: ids.DefaultPrefix,
		},
		Live: Live{Enabled: true, LogLevel: "info", Servers: Servers{Allow: []string{"*"}},
			Users:          People{Allow: []string{"*"}},
			Permissions:    Permissions{Invite: []string{"*"}, Bridge: []string{"*"}, Direct: []string{"*"}, Join: []string{"*"}},
			Flood:          Flood{PerPerson: 1200, PerServer: 12000, InvitationsPerPerson: 50, InvitationsPerServer: 500, AccountsPerServer: 2000},
			PublicChannels: []string{},
			Typing:         true, Receipts: true, TracePercent: 100},
	}
}

// ErrNeedsRestart is wrapped by the error of Reload when a Fixed key differs.
var ErrNeedsRestart = errors.New("needs a restart")

// Reload returns the Live part of next if it can replace that of current while
// the bridge runs, and otherwise an error that names every key in the way; the
// caller then keeps what it has.
func Reload(current, next Config) (Live, error) {
	if changed := ChangedFixed(current, next); len(changed) > 0 {
		return current.Live, fmt.Errorf("changed %s: %w", strings.Join(changed, ", "), ErrNeedsRestart)
	}
	return next.Live, nil
}

// ChangedFixed returns the Fixed keys, as dotted paths, whose values differ.
func ChangedFixed(current, next Config) []string {
	return changedKeys("", reflect.ValueOf(current.Fixed), reflect.ValueOf(next.Fixed))
}

// ChangedLive returns the Live keys, as dotted paths, whose values differ.
func ChangedLive(current, next Config) []string {
	return changedKeys("", reflect.ValueOf(current.Live), reflect.ValueOf(next.Live))
}

// KeyOf returns the name of a configuration field in bridge.yaml.
func KeyOf(field reflect.StructField) string {
	key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return key
}

func changedKeys(prefix string, was, now reflect.Value) []string {
	var changed []string
	for i := range was.NumField() {
		key := prefix + KeyOf(was.Type().Field(i))
		if was.Field(i).Kind() == reflect.Struct {
			changed = append(changed, changedKeys(key+".", was.Field(i), now.Field(i))...)
		} else if !equal(was.Field(i), now.Field(i)) {
			changed = append(changed, key)
		}
	}
	return changed
}

func equal(a, b reflect.Value) bool {
	if l, ok := a.Interface().([]string); ok { // an absent list equals an empty one
		m, _ := b.Interface().([]string)
		return slices.Equal(l, m)
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
