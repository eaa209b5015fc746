package plan_test

import (
	"testing"

	"appliance/provision/plan"
)

// A file that an earlier release has written is no other one for this release: what is
// known of it, and of what the services have read, was noted by that release.
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
