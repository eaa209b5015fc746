// Package rotate replaces the secrets of an installation and checks which of them are accepted.
//
// A rotation is recorded on disk before anything changes (secrets.Rotations). Then Begin
// updates the databases and writes the secrets, the caller renders what depends on them and
// restarts what reads them, and Finish makes sure that the new values are accepted and the old
// ones are not. Each part can be repeated, so a rotation that was interrupted is completed by
// doing all of it again.
package rotate

import (
	"fmt"
	"slices"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/secrets"
)

// A Secret is a secret that can be replaced.
type Secret struct {
	Key      string       `json:"secret"` // as the command line names it
	Name     secrets.Name `json:"-"`
	Does     string       `json:"does"`     // what is changed
	Restarts []string     `json:"restarts"` // services that are restarted
}

// BackupKey is what the command line calls the key to the backups, which is not a secret of a
// service.
const BackupKey = "backup-key"

// SigningKey is what the command line calls the key that is never replaced.
const SigningKey = "matrix-key"

// all lists the secrets with what they restart in an installation with answers a.
func all(a answers.Answers) []Secret {
	homeserver := []string{"homeserver"}
	if a.BridgeDatabase == answers.Bundled {
		homeserver = []string{"bridge", "homeserver"}
	}
	return []Secret{
		{"create-token", secrets.CreateTokenSecret, "CREATE_TOKENS_FOR_USERS_SECRET of Rocket.Chat", []string{"bridge", "rocketchat"}},
		{"admin-password", secrets.AdminPassword, "the password of the first administrator in Rocket.Chat", nil},
		{"rocketchat-token", secrets.RocketChatToken, "the access token of the bridge's account; Rocket.Chat makes the new one", []string{"bridge", "rocketchat"}},
		{"as-token", secrets.ASToken, "what the bridge shows to the homeserver", []string{"bridge", "homeserver"}},
		{"hs-token", secrets.HSToken, "what the homeserver shows to the bridge", []string{"bridge", "homeserver"}},
		{"registration-secret", secrets.RegistrationSecret, "the homeserver's secret for making accounts", []string{"homeserver"}},
		{"macaroon-secret", secrets.MacaroonSecret, "a secret of Synapse; Dendrite reads none", []string{"homeserver"}},
		{"form-secret", secrets.FormSecret, "a secret of Synapse; Dendrite reads none", []string{"homeserver"}},
		{"postgres-password", secrets.PostgresPassword, "the password of the role homeserver in PostgreSQL", homeserver},
		{"mongo-root-password", secrets.MongoRootPassword, "the password of root in MongoDB", []string{"mongo"}},
		{"mongo-password", secrets.MongoPassword, "the password of rocketchat in MongoDB", []string{"mongo", "rocketchat"}},
		{"mongo-keyfile", secrets.MongoKeyfile, "the key of MongoDB's replica set", []string{"mongo"}},
	}
}

// Keys returns the names of all secrets that can be replaced.
func Keys() []string {
	out := make([]string, 0, 13)
	for _, s := range all(answers.Answers{}) {
		out = append(out, s.Key)
	}
	return append(out, BackupKey)
}

// KeyOf returns what the command line calls a secret.
func KeyOf(name secrets.Name) string {
	if name == secrets.MatrixKey {
		return SigningKey
	}
	for _, s := range all(answers.Answers{}) {
		if s.Name == name {
			return s.Key
		}
	}
	return string(name)
}

// A ChoiceError says why a secret cannot be replaced.
type ChoiceError struct{ Reason, Advice string }

func (e *ChoiceError) Error() string { return e.Reason }

// Hint says what to do.
func (e *ChoiceError) Hint() string { return e.Advice }

// Choose returns the secrets with the given keys, or all that this installation can replace
// itself if there are none.
func Choose(a answers.Answers, keys []string) ([]Secret, error) {
	list := all(a)
	if len(keys) == 0 {
		return slices.DeleteFunc(list, func(s Secret) bool { return foreign(a, s.Name) != nil }), nil
	}
	var out []Secret
	for _, key := range keys {
		i := slices.IndexFunc(list, func(s Secret) bool { return s.Key == key })
		switch {
		case key == SigningKey:
			return nil, &ChoiceError{"the signing key of the homeserver is not replaced: other servers know this name by it, and what it has signed would no longer count",
				"if it may have leaked, abandon this name and install under another one; see docs/security.md"}
		case i < 0:
			return nil, &ChoiceError{fmt.Sprintf("there is no secret %q", key), "the secrets are: " + strings.Join(Keys(), ", ")}
		}
		if err := foreign(a, list[i].Name); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(s Secret) bool { return s.Key == key }) {
			out = append(out, list[i])
		}
	}
	return out, nil
}

// foreign returns why a secret is not this installation's own to replace, or nil.
func foreign(a answers.Answers, name secrets.Name) error {
	switch name {
	case secrets.AdminPassword:
		if !a.BundledRocketChat() {
			return &ChoiceError{"the administrator belongs to the external Rocket.Chat", "change the password there; nothing here knows it"}
		}
	case secrets.CreateTokenSecret, secrets.RocketChatToken:
		if !a.BundledRocketChat() {
			return &ChoiceError{"the secret belongs to the external Rocket.Chat", "replace it there, write it to " +
				fileOf(a, name) + ", and run: appliance up"}
		}
	case secrets.MongoRootPassword, secrets.MongoPassword, secrets.MongoKeyfile:
		if !a.BundledMongo() {
			return &ChoiceError{"MongoDB is not a part of this installation", "replace its password there, and tell the new address with: appliance config set mongo_url=..."}
		}
	case secrets.MatrixKey:
	default:
		if name == secrets.PostgresPassword && a.BundledHomeserver() && !a.BundledPostgres() {
			return &ChoiceError{"PostgreSQL is not a part of this installation", "replace its password there, and in homeserver_database: appliance config edit"}
		}
		if !a.BundledHomeserver() {
			return &ChoiceError{"the homeserver is not a part of this installation, and has to read the new secret",
				"remove the file " + secrets.Path("", name) + ", run: appliance up; then copy the registration to the homeserver again, see: appliance attach"}
		}
	}
	return nil
}

// fileOf returns where an external Rocket.Chat's secret is kept.
func fileOf(a answers.Answers, name secrets.Name) string {
	if name == secrets.CreateTokenSecret {
		return a.RocketChatSecretFile
	}
	return a.RocketChatTokenFile
}
