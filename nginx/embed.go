// Package nginx holds the configuration of the web server that faces the
// internet. It contains no code besides the embed directive.
package nginx

import "embed"

// FS holds the *.tmpl files of this directory.
//
//go:embed *.tmpl
var FS embed.FS
