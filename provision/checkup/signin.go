package checkup

import (
	"context"
	"os"
	"strings"
	"sync"

	"appliance/provision/doctor"
	"appliance/provision/rotate"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// signsIn are the secrets on disk to check with their servers, and the services that do not
// work if the server refuses. The administrator's password is not among them: people change it
// in Rocket.Chat, and nothing depends on it.
var signsIn = []struct {
	name     secrets.Name
	server   string
	explains []string
}{
	{secrets.PostgresPassword, "PostgreSQL", []string{"homeserver", "bridge"}},
	{secrets.RocketChatToken, "Rocket.Chat", []string{"bridge"}},
	{secrets.ASToken, doctor.Homeserver, []string{"bridge"}},
	{secrets.HSToken, "the bridge", nil},
}

// refused asks each server whether it accepts the secret on disk. Unclear answers are left to
// other checks.
func refused(ctx context.Context, s *site.Site) []doctor.Refusal {
	if turn, err := secrets.UnderWay(s.Dir); err != nil || len(turn) > 0 {
		return nil // up completes the rotation
	}
	found := make([]doctor.Refusal, len(signsIn))
	var wg sync.WaitGroup
	for i, c := range signsIn {
		data, err := os.ReadFile(secrets.Path(s.Dir, c.name))
		if _, chosen := rotate.Choose(s.Answers, []string{rotate.KeyOf(c.name)}); err != nil || chosen != nil {
			continue // it is missing, which is reported elsewhere, or belongs to an external server
		}
		wg.Go(func() {
			accepted, asked, err := rotate.Accepted(ctx, s, c.name, strings.TrimSpace(string(data)))
			if asked && err == nil && !accepted {
				found[i] = doctor.Refusal{Secret: rotate.KeyOf(c.name), File: "secrets/" + string(c.name), Server: c.server, Explains: c.explains}
			}
		})
	}
	wg.Wait()
	return append(present(found), mongoRefused(ctx, s)...)
}

func present(list []doctor.Refusal) (out []doctor.Refusal) {
	for _, r := range list {
		if r.Secret != "" {
			out = append(out, r)
		}
	}
	return out
}

// mongoRefused reads from MongoDB's health check whether Rocket.Chat's password is accepted; it
// does not sign in itself, because mongosh takes seconds to start.
func mongoRefused(ctx context.Context, s *site.Site) []doctor.Refusal {
	if !s.Answers.BundledMongo() {
		return nil
	}
	said, err := s.Stack.Engine().HealthOutput(ctx, "mongo")
	if err != nil || !strings.Contains(said, `"rocketchat":"refused"`) {
		return nil
	}
	return []doctor.Refusal{{Secret: rotate.KeyOf(secrets.MongoPassword), File: "secrets/" + string(secrets.MongoPassword), Server: "MongoDB", Explains: []string{"rocketchat"}}}
}
