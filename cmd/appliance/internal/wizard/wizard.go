// Package wizard asks for answers on a terminal. What it fills is a draft of the
// answers and nothing else: running it and then `appliance up` is the same
// as writing the file by hand.
package wizard

import (
	"os"

	"github.com/AlecAivazis/survey/v2"

	"appliance/provision/answers"
)

// Ask walks answers.Fields and offers what the draft already holds. It asks
// again until a value is valid, and returns an error when it is interrupted.
func Ask(tty *os.File, draft *answers.Draft) error {
	for _, f := range answers.Fields {
		if !f.Asked(draft.Answers) {
			continue
		}
		now := draft.Normalize()
		value, err := ask(tty, f, f.Get(&now))
		if err != nil {
			return err
		}
		draft.Set(f.Key, value, "the wizard")
	}
	return nil
}

func ask(tty *os.File, f answers.Field, now string) (string, error) {
	question := f.Ask
	if f.Permanent {
		question += " (permanent)"
	}
	var prompt survey.Prompt = &survey.Input{Message: question, Default: now, Help: f.Help}
	if f.Kind == answers.Choice {
		prompt = &survey.Select{Message: question, Options: f.Choices, Default: now, Help: f.Help}
	}
	var value string
	err := survey.AskOne(prompt, &value,
		survey.WithStdio(tty, tty, tty),
		survey.WithValidator(func(v any) error {
			if text, ok := v.(string); ok && f.Check != nil && f.Kind != answers.Choice {
				return f.Check(text)
			}
			return nil
		}))
	return value, err
}

// Confirm asks a question to be answered with yes or no; no is the default.
func Confirm(tty *os.File, question string) (bool, error) {
	var yes bool
	err := survey.AskOne(&survey.Confirm{Message: question}, &yes, survey.WithStdio(tty, tty, tty))
	return yes, err
}
