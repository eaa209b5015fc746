// Package templates holds the configuration files that provisioning renders,
// except those of nginx and Compose. It contains no code besides the embed
// directive.
package templates

import "embed"

// FS holds the files of this directory: *.tmpl, and *.sql and *.yml that are used as they are.
//
//go:embed *.tmpl *.sql *.yml
var FS embed.FS
