// Package compose holds the Compose file of the stack and the versions of its
// images. The file is plain YAML, not a template: what varies comes from .env
// and from profiles. It contains no code besides the embed directives.
package compose

import _ "embed" // for the directives below

// File is compose.yaml.
//
//go:embed compose.yaml
var File []byte

// Versions is versions.env: the name of every image.
//
//go:embed versions.env
var Versions []byte

// MongoReady is the script with which the mongo service finds out whether it is
// ready, and on its first runs makes itself so.
//
//go:embed mongo-ready.js
var MongoReady []byte

// MongoRaise is the script with which an upgrade of MongoDB ends.
//
//go:embed mongo-raise.js
var MongoRaise []byte

// MongoRotate is the script that replaces passwords in MongoDB, and finds out which sign
// in. It reads a variable named given; see there.
//
//go:embed mongo-rotate.js
var MongoRotate []byte
