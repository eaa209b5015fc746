package render

import (
	"net/url"

	"appliance/provision/homeserver"
	"appliance/provision/secrets"
	"appliance/templates"
)

// What the bridge needs for an external Rocket.Chat.
const (
	rocketchatToken  = "config/bridge/rocketchat_token"
	rocketchatSecret = "config/bridge/rocketchat_create_token_secret"
)

// AttachHomeserver and AttachRocketChat say what to add to an external server.
const (
	AttachHomeserver = "attach/homeserver.txt"
	AttachRocketChat = "attach/rocketchat.txt"
)

// Registration is the file that registers the bridge with a homeserver.
const Registration = "config/homeserver/rocketchat-registration.yaml"

type attachFields struct {
	ServerName                 string
	Steps                      string // for that kind of homeserver
	BridgeURL, BridgeHost      string
	ChatURL, ChatHost, BotUser string
	Settings                   [][2]string
}

// attach renders the files about external servers.
func (in Input) attach(put putter) error {
	a := in.Answers
	fields := attachFields{
		ServerName: a.ServerName, BridgeURL: a.PublicBridgeURL(), BridgeHost: hostOf(a.PublicBridgeURL()),
		ChatURL: a.ChatURL(), ChatHost: hostOf(a.ChatURL()), BotUser: "@" + Bridge(in).AppService.Bot + ":" + a.ServerName, Settings: NeededSettings,
	}
	if !a.BundledHomeserver() {
		steps, err := execute(templates.FS, homeserver.Of(a.Software()).AttachSteps, fields)
		if err != nil {
			return err
		}
		fields.Steps = string(steps)
		text, err := execute(templates.FS, "attach-homeserver.txt.tmpl", fields)
		if err != nil {
			return err
		}
		put(AttachHomeserver, 0o644, Root, text)
	}
	if !a.BundledRocketChat() {
		text, err := execute(templates.FS, "attach-rocketchat.txt.tmpl", fields)
		if err != nil {
			return err
		}
		put(AttachRocketChat, 0o644, Root, text)
		put(rocketchatToken, 0o600, ApplianceUser, []byte(in.Secrets[secrets.RocketChatToken].Reveal()+"\n"))
		put(rocketchatSecret, 0o600, ApplianceUser, []byte(in.Secrets[secrets.CreateTokenSecret].Reveal()+"\n"))
	}
	return nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}
