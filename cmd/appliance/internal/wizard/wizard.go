// Package wizard asks for answers on a terminal. It fills a draft of the answers and does
// nothing else: running it and then `appliance up` is the same as writing the file by hand.
package wizard

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/AlecAivazis/survey/v2"

	"appliance/provision/answers"
)

// Ask asks for the answers that have not been given yet, each until it is valid, and then
// shows all of them for review, where each can be changed. It calls keep after every
// answer. It returns an error when it is interrupted.
func Ask(tty *os.File, draft *answers.Draft, keep func()) error {
	fmt.Fprint(tty, "Enter takes what is in parentheses; ? explains a question.\nA permanent answer can never be changed.\n\n")
	w := wizard{tty, draft, keep}
	if err := w.open(); err != nil {
		return err
	}
	return w.review()
}

type wizard struct {
	tty   *os.File
	draft *answers.Draft
	keep  func()
}

// open asks the unanswered questions. An answer may raise further ones.
func (w wizard) open() error {
	for _, f := range answers.Fields {
		if !f.Asked(w.draft.Answers) || w.draft.Said(f.Key) && (!f.Required || f.Get(&w.draft.Answers) != "") {
			continue
		}
		if err := w.ask(f); err != nil {
			return err
		}
	}
	return nil
}

const goOn = "Yes, go on"

// review shows the answers until the operator changes none.
func (w wizard) review() error {
	for {
		now := w.draft.Normalize()
		choices, fields := []string{goOn}, []answers.Field{{}}
		for _, f := range answers.Fields {
			if f.Asked(now) {
				choices, fields = append(choices, fmt.Sprintf("%-15s %s", f.Key, shown(f, f.Get(&now)))), append(fields, f)
			}
		}
		var chosen int
		prompt := &survey.Select{Message: "Is this right? Choose what to change.", Options: choices, PageSize: min(len(choices), 16)}
		if err := w.one(prompt, &chosen); err != nil {
			return err
		}
		if chosen == 0 {
			return nil
		}
		if err := w.ask(fields[chosen]); err != nil {
			return err
		}
		if err := w.open(); err != nil {
			return err
		}
	}
}

// shown is an answer as the review shows it.
func shown(f answers.Field, value string) string {
	switch {
	case value == "":
		return "(none)"
	case f.Permanent:
		return value + " (permanent)"
	}
	return value
}

// ask asks for one answer and offers what the draft holds.
func (w wizard) ask(f answers.Field) error {
	now := w.draft.Normalize()
	question, offer := f.Ask, f.Get(&now)
	if f.Permanent {
		question += " (permanent)"
	}
	var prompt survey.Prompt = &line{message: question, note: f.Note, help: f.Help, byDefault: offer, meant: f.Meant}
	if f.Kind == answers.Choice {
		prompt = &survey.Select{
			Message: question, Options: f.Choices, Default: offer, Help: f.Help,
			Description: func(_ string, i int) string {
				if i < len(f.Means) {
					return f.Means[i]
				}
				return ""
			},
		}
	}
	var value string
	err := w.one(prompt, &value, survey.WithValidator(func(v any) error {
		if text, ok := v.(string); ok && f.Check != nil && f.Kind != answers.Choice {
			return f.Check(text)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	if value == derived(f, w.draft.Answers) {
		value = "" // so that it follows the answer that it is derived from
	}
	w.draft.Set(f.Key, value, answers.Asked)
	w.keep()
	return nil
}

// derived is the value that a field has when it is not answered.
func derived(f answers.Field, a answers.Answers) string {
	if f.Kind != answers.Text || f.Set(&a, "") != nil {
		return ""
	}
	a = a.Normalize()
	return f.Get(&a)
}

func (w wizard) one(prompt survey.Prompt, to any, options ...survey.AskOpt) error {
	survey.SelectQuestionTemplate = selectTemplate
	return survey.AskOne(prompt, to, slices.Concat(options, []survey.AskOpt{survey.WithStdio(w.tty, w.tty, w.tty)})...)
}

// selectTemplate is survey's with a shorter instruction, which fits beside the questions
// on a narrow terminal.
var selectTemplate = strings.Replace(survey.SelectQuestionTemplate,
	"[Use arrows to move, type to filter{{- if and .Help (not .ShowHelp)}}, {{ .Config.HelpInput }} for more help{{end}}]", "[arrows, Enter]", 1)

// Confirm asks a yes-or-no question with a default.
func Confirm(tty *os.File, question string, byDefault bool) (bool, error) {
	yes := byDefault
	err := survey.AskOne(&survey.Confirm{Message: question, Default: byDefault}, &yes, survey.WithStdio(tty, tty, tty))
	return yes, err
}
