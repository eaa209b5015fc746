package provision

import (
	"bytes"
	"errors"
	"os"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// foreignSecrets takes the secrets of a Rocket.Chat that belongs to somebody else
// from the files that the answers name.
func (p *Prepared) foreignSecrets() error {
	if p.opts.Answers.BundledRocketChat() {
		return nil
	}
	return foreignSecrets(p.opts.Answers, p.set)
}

func foreignSecrets(a answers.Answers, into secrets.Set) error {
	var errs []error
	for _, f := range []struct {
		key, file string
		name      secrets.Name
	}{
		{"rocketchat_token_file", a.RocketChatTokenFile, secrets.RocketChatToken},
		{"rocketchat_create_token_secret_file", a.RocketChatSecretFile, secrets.CreateTokenSecret},
	} {
		data, err := os.ReadFile(f.file)
		data = bytes.TrimSpace(data)
		if err == nil && (len(data) == 0 || bytes.ContainsAny(data, " \n\t")) {
			err = errors.New(f.file + " does not hold one word")
		}
		errs = append(errs, asAnswerError(f.key, err))
		into[f.name] = secret.New(string(data))
	}
	return errors.Join(errs...)
}

// attached are the servers of somebody else, as far as the answers name any.
func (p *Prepared) attached() attach.Servers {
	a := p.opts.Answers
	s := attach.Of(a)
	if s.Homeserver != nil {
		if data, err := os.ReadFile(secrets.Path(p.opts.Dir, secrets.ASToken)); err == nil {
			s.Homeserver.Token = secret.New(string(bytes.TrimSpace(data)))
		}
		bridge := render.Bridge(render.Input{Answers: a})
		s.Homeserver.ID, s.Homeserver.Bot = bridge.AppService.ID, bridge.AppService.Bot
	}
	return s
}

// An Attachment is what to add to a server of somebody else.
type Attachment struct {
	Server string `json:"server"`         // "homeserver" or "rocketchat"
	Text   string `json:"text"`           // what to do there
	File   string `json:"file,omitempty"` // to copy there
}

// Attachments says what to add to servers that are not of this installation.
func (i *Installed) Attachments() ([]Attachment, error) { return i.p.attachments() }

func (p *Prepared) attachments() ([]Attachment, error) {
	var out []Attachment
	add := func(server, text, file string) error {
		data, err := os.ReadFile(p.path(text))
		if err == nil {
			out = append(out, Attachment{Server: server, Text: string(data), File: file})
		}
		return err
	}
	a := p.opts.Answers
	var errs []error
	if !a.BundledHomeserver() {
		errs = append(errs, add("homeserver", render.AttachHomeserver, p.path(render.Registration)))
	}
	if !a.BundledRocketChat() {
		errs = append(errs, add("rocketchat", render.AttachRocketChat, ""))
	}
	return out, errors.Join(errs...)
}
