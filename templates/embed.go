// Package templates holds the configuration files that provisioning renders,
// except those of nginx and Compose. It contains no code besides the embed
// directive.
package templates

import "embed"

// FS holds the *.tmpl files of this directory.
//
//go:embed *.tmpl
var FS embed.FS
