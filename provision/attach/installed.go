package attach

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// Secrets reads the secrets of an external Rocket.Chat from the files that the
// answers name; with a bundled one there is nothing to read.
func Secrets(a answers.Answers, into secrets.Set) error {
	if a.BundledRocketChat() {
		return nil
	}
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
		errs = append(errs, answers.Unusable(f.key, err))
		into[f.name] = secret.New(string(data))
	}
	return errors.Join(errs...)
}

// Installed returns the external servers of an installation in dir, with what its
// registration says.
func Installed(dir string, a answers.Answers) Servers {
	s := Of(a)
	if s.Homeserver != nil {
		if data, err := os.ReadFile(secrets.Path(dir, secrets.ASToken)); err == nil {
			s.Homeserver.Token = secret.New(string(bytes.TrimSpace(data)))
		}
		bridge := render.Bridge(render.Input{Answers: a})
		s.Homeserver.ID, s.Homeserver.Bot = bridge.AppService.ID, bridge.AppService.Bot
	}
	return s
}

// An Attachment is what to add to an external server.
type Attachment struct {
	Server string `json:"server"`         // "homeserver" or "rocketchat"
	Text   string `json:"text"`           // what to do there
	File   string `json:"file,omitempty"` // to copy there
}

// Attachments says what to add to the external servers of the installation in dir.
func Attachments(dir string, a answers.Answers) ([]Attachment, error) {
	var out []Attachment
	add := func(server, text, file string) error {
		data, err := os.ReadFile(filepath.Join(dir, text))
		if err == nil {
			out = append(out, Attachment{Server: server, Text: string(data), File: file})
		}
		return err
	}
	var errs []error
	if !a.BundledHomeserver() {
		errs = append(errs, add("homeserver", render.AttachHomeserver, filepath.Join(dir, render.Registration)))
	}
	if !a.BundledRocketChat() {
		errs = append(errs, add("rocketchat", render.AttachRocketChat, ""))
	}
	return out, errors.Join(errs...)
}
