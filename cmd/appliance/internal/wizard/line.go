package wizard

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/AlecAivazis/survey/v2"
	"golang.org/x/term"
)

// A line is a question that is answered in one line. Unlike survey.Input it says
// beforehand what the answer is for, shows the value that it derives from what was typed,
// and keeps what was typed when that cannot be used.
type line struct {
	survey.Renderer
	message, note, help, byDefault string
	meant                          func(typed string) string

	typed    string
	problem  string // of what was typed
	showHelp bool
}

// A lineView is what the template sees of a line.
type lineView struct {
	Message, About, Problem, Default, Answer string
	Answered                                 bool
	Config                                   *survey.PromptConfig
}

const lineTemplate = `
{{- if not .Answered }}
  {{- if .About }}{{color "cyan"}}{{ .About }}{{color "reset"}}{{"\n"}}{{end}}
  {{- if .Problem }}{{color .Config.Icons.Error.Format }}{{ .Problem }}{{color "reset"}}{{"\n"}}{{end}}
{{- end}}
{{- color .Config.Icons.Question.Format }}{{ .Config.Icons.Question.Text }} {{color "reset"}}
{{- color "default+hb"}}{{ .Message }} {{color "reset"}}
{{- if .Answered }}{{- color "cyan"}}{{.Answer}}{{color "reset"}}{{"\n"}}
{{- else if .Default}}{{color "white"}}({{.Default}}) {{color "reset"}}{{end}}`

func (l *line) view(config *survey.PromptConfig) lineView {
	v := lineView{Message: l.message, Default: l.byDefault, Config: config}
	width := l.width()
	switch {
	case l.showHelp:
		v.About = wrap(l.help, width)
	case l.note != "":
		v.About = wrap(l.note, width)
	}
	if l.problem != "" {
		v.Problem = wrap(config.Icons.Error.Text+" This "+l.problem+".", width)
	}
	return v
}

// width is the number of columns.
func (l *line) width() int {
	width, _, err := term.GetSize(int(l.Stdio().Out.Fd()))
	if err != nil || width < 20 {
		return 80
	}
	return width
}

// wrap breaks a text between words, with two spaces before each line.
func wrap(text string, width int) string {
	var out strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			out.WriteString("  ")
			column = 2
		case column+1+n >= width:
			out.WriteString("\n  ")
			column = 2
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += n
	}
	return out.String()
}

// Error implements survey.Prompt: what is wrong is shown with the question.
func (l *line) Error(_ *survey.PromptConfig, err error) error {
	l.problem = err.Error()
	return nil
}

// Prompt implements survey.Prompt. The value is a string.
func (l *line) Prompt(config *survey.PromptConfig) (any, error) { return l.read(config, "") }

// PromptAgain implements survey.PromptAgainer.
func (l *line) PromptAgain(config *survey.PromptConfig, _ any, _ error) (any, error) {
	return l.read(config, l.typed)
}

func (l *line) read(config *survey.PromptConfig, begin string) (any, error) {
	for {
		if err := l.Render(lineTemplate, l.view(config)); err != nil {
			return "", err
		}
		runes, err := l.edit(begin)
		if err != nil {
			return "", err
		}
		switch l.typed = string(runes); {
		case l.typed == config.HelpInput && l.help != "":
			l.showHelp, begin = true, ""
			continue
		case l.typed == "":
			return l.byDefault, nil
		}
		l.AppendRenderedText(l.typed)
		return l.meant(l.typed), nil
	}
}

// edit lets the operator edit a line that begins with a text.
func (l *line) edit(begin string) ([]rune, error) {
	reader := l.NewRuneReader()
	if err := reader.SetTermMode(); err != nil {
		return nil, err
	}
	defer func() { _ = reader.RestoreTermMode() }()
	runes, err := reader.ReadLineWithDefault(0, []rune(begin))
	if err == nil {
		_ = l.NewCursor().Up(1) // it moved to the next line
	}
	return runes, err
}

// Cleanup implements survey.Prompt.
func (l *line) Cleanup(config *survey.PromptConfig, value any) error {
	view := l.view(config)
	view.Answered, view.Answer = true, fmt.Sprint(value)
	for _, r := range l.typed {
		if r > '~' { // a name in Punycode tells people little
			view.Answer += " (" + l.typed + ")"
			break
		}
	}
	return l.Render(lineTemplate, view)
}
