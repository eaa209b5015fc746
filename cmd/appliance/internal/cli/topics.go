package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

const exitStatuses = `Exit status:
  0    done
  1    unexpected failure
  2    usage
  3    answers are missing or cannot be used
  4    the doctor found problems
  5    the host is not ready
  6    another appliance process is running
  7    the certificate authority refused
  8    a service did not become healthy
  130  interrupted

With --json an error is one object on stderr: error, hint and status, and problems where there are several.`

const environment = `Environment:
  APPLIANCE_DIR   the installation directory; --dir takes precedence
  APPLIANCE_<KEY> an answer, with its key in upper case: APPLIANCE_DOMAIN=chat.example.org.
                  Flags take precedence over it, and it over the answers file
  NO_COLOR        set to anything: no colours and no redrawing of lines; --color takes precedence
  VISUAL, EDITOR  the editor of appliance config edit
  DOCKER_HOST     where Docker is; its other DOCKER_* variables count too
  HTTPS_PROXY     and similar: the proxy for connections out of your network
  XDG_STATE_HOME  below it, unfinished answers are kept; otherwise in ~/.local/state

Any other variable that begins with APPLIANCE_ is reported and ignored.`

// topics are pages of help that belong to no command.
func topics() []*cobra.Command {
	var out []*cobra.Command
	for _, t := range []struct{ name, short, text string }{
		{"exit-status", "What the exit status of every command means", exitStatuses},
		{"environment", "Which variables the program reads", environment},
	} {
		out = append(out, &cobra.Command{Use: t.name, Short: t.short, Long: strings.TrimSpace(t.text)})
	}
	return out
}
