package wizard

import (
	"os"

	"github.com/AlecAivazis/survey/v2"
)

// Propose asks a question whose answer is yes unless the operator says no.
func Propose(tty *os.File, question, help string) (yes bool, err error) {
	err = survey.AskOne(&survey.Confirm{Message: question, Help: help, Default: true}, &yes, survey.WithStdio(tty, tty, tty))
	return yes, err
}
