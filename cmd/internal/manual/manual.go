// Package manual extracts the commands of the program from the manual, which is README.md
// and docs/*.md. Tests and the demo execute them. It runs nothing itself.
package manual

import (
	"path/filepath"
	"strings"
)

// A Command is a command that a document shows in a code block.
type Command struct {
	Document string // the name of its file
	Line     string // from "appliance" on, without sudo and what comes after &&
}

// Documents are the files of the manual below the root of the repository.
func Documents(root string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	return append(found, filepath.Join(root, "README.md")), err
}

// Code splits a document into the lines of its code blocks, fenced or indented, and all others.
func Code(text string) (code, prose []string) {
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			code = append(code, strings.TrimSpace(line))
		default:
			prose = append(prose, line)
		}
	}
	return code, prose
}

// Commands returns the commands of the program in the code blocks of a document,
// including those after &&, in order.
func Commands(text string) (out []string) {
	code, _ := Code(text)
	for _, line := range code {
		line = strings.TrimPrefix(line, "$ ")
		for part := range strings.SplitSeq(line, "&&") {
			if part = strings.TrimPrefix(strings.TrimSpace(part), "sudo "); strings.HasPrefix(part, "appliance ") {
				out = append(out, part)
			}
		}
	}
	return out
}

// NeedsContainers lists the commands that cannot be executed with a Docker that only
// records its calls, each with the reason and with what executes it.
var NeedsContainers = map[string]string{
	"appliance alarm test":                                                                      "a Rocket.Chat has to take the message: bin/demo check",
	"appliance bundle create appliance-bundle.tar":                                              "it saves images: bin/demo life",
	"appliance bundle load appliance-bundle.tar --sha256 THE-PRINTED-ONE":                       "it loads images: bin/demo life",
	"appliance config set bridge_database=postgres://bridge:secret@postgres.example.org/bridge": "it looks at that PostgreSQL: TestScript/external_database",
	"appliance render kubernetes --image registry.example.org/appliance:v1 --value rocketchat.url=http://rocketchat-rocketchat.rocketchat.svc --value homeserver.url=http://dendrite.matrix.svc:8008": "its answers name that PostgreSQL: TestScript/render_kubernetes",
	"appliance render swarm --out /root/chat --stack chat --replicas nginx=2,rocketchat=2":                                                                                                            "a cluster takes what it writes: TestScript/render and TestSwarm",
	"appliance render swarm --answers answers.yaml --out /root/cluster --stack chat --replicas nginx=2":                                                                                               "its answers are for a cluster of their own: TestScript/render and TestSwarm",
	"appliance render swarm --answers answers.yaml --out /root/cluster --stack chat --image registry.example.org/appliance:v1":                                                                        "its answers are for a cluster of their own: TestScript/render and TestSwarm",
	"appliance upgrade --finish":                "it speaks to a MongoDB of the installation: TestScript/databases",
	"appliance upgrade --versions versions.env": "only a healthy installation is upgraded: bin/demo life",
}
