// Package templates holds the configuration files that provisioning renders,
// except those of nginx and Compose, and the Helm chart. It contains no code besides the embed
// directive.
package templates

import "embed"

// FS holds the files of this directory: *.tmpl, and *.sql and *.yml that are used as they are.
//
//go:embed *.tmpl *.sql *.yml
var FS embed.FS

// Kubernetes is the Helm chart, below the directory "kubernetes". The program renders it
// too, without Helm: its templates use only the functions that package
// provision/kubernetes has.
//
//go:embed all:kubernetes
var Kubernetes embed.FS
