package plan_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/plan"
	"appliance/provision/render"
)

// A file that an earlier release wrote has the same identity in this release: what is recorded
// about it, and about what the services have read, was recorded by that release.
func TestAFileOfAnEarlierReleaseStaysTheSame(t *testing.T) {
	const file = `homeserver:
  url: http://homeserver:8008
  domain: example.org
  kind: dendrite
appservice:
  id: rocketchat
  url: http://bridge:29328
  listen: ":29328"
  bot: rocket.cat
  hs_token_file: /run/secrets/hs_token
  as_token_file: /run/secrets/as_token
rocketchat:
  url: http://rocketchat:3000
  site_url: https://chat.example.org
  user_id: abc
  token_file: /run/secrets/rocketchat_token
  create_token_secret_file: /run/secrets/create_token_secret
database: sqlite:/data/bridge.db
namespace: native
log_level: debug
`
	const noted = "541f527f956c58b731f2800862bb845f049d8b6866df2f54e0d3f93d1b8e7967"
	if got := plan.Identity(plan.BridgeFile, []byte(file)); got != noted {
		t.Errorf("after an upgrade bridge.yaml would be taken for edited by hand: %s", got)
	}
}

// A release with more answers than the one that wrote appliance.yaml does not mistake the file for
// one that was edited by hand, neither in a plain up nor with the answers of another file.
func TestAnswersOfAnEarlierReleaseAreNotEdited(t *testing.T) {
	read := func(text string) answers.Answers {
		a, err := answers.Parse("a", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ours := read("domain: chat.example.org\nemail: ops@example.org").Marshal("appliance up")
	// The earlier release had one answer fewer and another explanation, and recorded both.
	blocks := bytes.Split(ours, []byte("\n\n"))
	blocks[1] = append([]byte("# As it was explained then, and "), blocks[1]...)
	blocks = slices.Delete(blocks, len(blocks)-1, len(blocks))
	old := append(bytes.Join(blocks, []byte("\n\n")), '\n')
	noted := sha256.Sum256(bytes.Replace(old, []byte("run: appliance up\n"), []byte("run: \n"), 1))

	for name, record := range map[string]string{
		"noted by that release": hex.EncodeToString(noted[:]),
		"noted by this release": plan.Identity(plan.AnswersFile, old),
	} {
		t.Run(name, func(t *testing.T) {
			w := wanted()
			w.OwnAnswers = true
			w.Files[plan.AnswersFile] = render.File{Mode: 0o600, Data: ours}
			s := settled(w)
			write(s, plan.AnswersFile, string(old))
			s.Manifest.Files[plan.AnswersFile] = plan.Record{Rendered: record}
			if got := plan.Make(w, s, plan.Ask).String(); got != "" {
				t.Errorf("%s", got)
			}
			w.OwnAnswers = false // up --answers FILE, in which something has changed
			w.Files[plan.AnswersFile] = render.File{Mode: 0o600, Data: read("domain: chat.example.org\nemail: we@example.org").Marshal("appliance up")}
			if got := plan.Edited(w, s); len(got) != 0 {
				t.Errorf("taken for edited by hand: %v", got)
			}
			write(s, plan.AnswersFile, string(bytes.Replace(old, []byte("ops@"), []byte("chief@"), 1)))
			if got := plan.Edited(w, s); len(got) != 1 {
				t.Errorf("an edit is not noticed: %v", got)
			}
		})
	}
}
