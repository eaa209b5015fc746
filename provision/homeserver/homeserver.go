// Package homeserver holds what the appliance does differently for each Matrix
// homeserver, as one value for each kind. The rest of provision consults the value and
// compares no names. What the running bridge does differently is in package mxside; how
// to add a kind is in docs/homeservers.md.
//
// What all kinds share is not here: the client API on port 8008, a health check with
// /_matrix/client/versions, one PostgreSQL database named homeserver, data in
// data/homeserver, and memory according to the size of the host.
package homeserver

import (
	"slices"

	"appliance/bridge/config"
)

// The kinds of homeserver, as the answers homeserver and homeserver_kind name them.
const (
	Dendrite = config.Dendrite
	Synapse  = config.Synapse
	Generic  = config.Generic
)

// A Kind is a Matrix homeserver that the appliance knows.
type Kind struct {
	Name string
	// AttachSteps is the template of the steps that attach an existing one, a file of
	// package templates.
	AttachSteps string
	// AdminPaths are its own paths that must be closed to the internet.
	AdminPaths []string
	// Stack is how the stack runs it; nil when it is only attached to.
	Stack *Stack
}

// Stack is how the stack runs a kind of homeserver.
type Stack struct {
	ImageKey string // its name in versions.env
	Command  string // of its container, as .env has it
	// Templates make its configuration in config/homeserver/: files of package templates
	// without their suffix .tmpl.
	Templates []string
	// SigningKey is the file of its signing key there. TranslatesKey says that it has Synapse's
	// format: "ed25519", a version and the seed in one line. Otherwise it is a PEM file.
	SigningKey    string
	TranslatesKey bool
	// Amend is run in its database after every start: a file of package templates, or ""
	// for nothing.
	Amend string
	// KeepsCopies says that it never removes its copies of other servers' media, which
	// are in the tables of Dendrite's media API and below data/homeserver/media.
	KeepsCopies bool
	// NeedsRoots says that it trusts the authorities in one file only. OpenSSL finds none in
	// a directory unless the files are named after their hashes, and Synapse's own setting
	// for more of them reads only the first in each file and drops those of the system.
	NeedsRoots bool
	// Postgres is the earliest major version of PostgreSQL that it supports. LocaleC says
	// that its database must have the locale C, or it does not start.
	Postgres int
	LocaleC  bool
	// Events is the table of events, and Newest the column that grows with each.
	Events, Newest string
	// Accounts is the table of accounts, which has the bridge's own from the first start.
	Accounts string
	// AdminPage: Ketesa can administer it.
	AdminPage bool
}

// kinds are all kinds. This is the only place in provision that knows their names.
var kinds = []Kind{
	{
		Name: Dendrite, AttachSteps: "attach-dendrite.txt.tmpl", AdminPaths: []string{"/_dendrite/monitor/up"},
		Stack: &Stack{
			ImageKey: "DENDRITE_IMAGE", Command: "'--config /etc/dendrite/dendrite.yaml'",
			Templates: []string{"dendrite.yaml"}, SigningKey: "matrix_key.pem",
			Amend: "dendrite.sql", KeepsCopies: true, Postgres: 12, Events: "roomserver_events", Newest: "event_nid", Accounts: "userapi_accounts",
		},
	},
	{
		Name: Synapse, AttachSteps: "attach-synapse.txt.tmpl", AdminPaths: []string{"/_synapse/admin/v1/server_version"},
		Stack: &Stack{
			ImageKey: "SYNAPSE_IMAGE", Command: "run",
			Templates: []string{"homeserver.yaml", "log.yaml"}, SigningKey: "signing.key", TranslatesKey: true,
			NeedsRoots: true, AdminPage: true, Postgres: 14, LocaleC: true, Events: "events", Newest: "stream_ordering", Accounts: "users",
		},
	},
	{Name: Generic, AttachSteps: "attach-generic.txt.tmpl"},
}

// Of returns the kind of that name; the zero value, without a Stack, if there is none.
func Of(name string) Kind {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}
	}
	return kinds[i]
}

// Bundled returns the names of the kinds that the stack can run.
func Bundled() []string {
	var names []string
	for _, k := range kinds {
		if k.Stack != nil {
			names = append(names, k.Name)
		}
	}
	return names
}

// AdminPaths returns the paths of all kinds that must be closed to the internet.
func AdminPaths() []string {
	var paths []string
	for _, k := range kinds {
		paths = append(paths, k.AdminPaths...)
	}
	return paths
}

// ConfigFiles returns the files in config/homeserver/ that configure the kinds, without
// their keys.
func ConfigFiles() []string {
	var names []string
	for _, k := range kinds {
		if k.Stack != nil {
			names = append(names, k.Stack.Templates...)
		}
	}
	return names
}
