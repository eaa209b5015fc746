// Command fakehost is docker or systemctl in tests, by its name.
package main

import (
	"os"
	"path/filepath"

	"appliance/cmd/appliance/internal/fakehost"
)

func main() {
	if filepath.Base(os.Args[0]) == "systemctl" {
		fakehost.Systemctl()
		return
	}
	fakehost.Docker()
}
