package convert_test

import (
	"testing"

	"appliance/bridge/convert"
)

func TestBeginsCall(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]bool{
		`{"type":"m.call.invite","content":{"call_id":"c"}}`:                                          true,
		`{"type":"m.call.invite","content":{}}`:                                                       false,
		`{"type":"org.matrix.msc3401.call.member","content":{"application":"m.call","call_id":""}}`:   true,
		`{"type":"org.matrix.msc3401.call.member","content":{"memberships":[{"call_id":""}]}}`:        true,
		`{"type":"org.matrix.msc3401.call.member","content":{"memberships":[]}}`:                      false,
		`{"type":"m.call.member","content":{}}`:                                                       false,
		`{"type":"m.call.member","content":{"application":["m.call"],"memberships":"x","m.calls":1}}`: false,
		`null`: false, `[]`: false,
	} {
		e, err := convert.ParseEvent([]byte(event))
		if got := err == nil && e.BeginsCall(); got != want {
			t.Errorf("%s: %v", event, got)
		}
	}
}

func TestPowersOfCreators(t *testing.T) {
	t.Parallel()
	p := convert.ParsePowers([]byte(`{"users":{"@a:x":50},"users_default":10}`))
	p.Creators = map[string]bool{"@c:x": true}
	if p.Of("@a:x") != 50 || p.Of("@b:x") != 10 || p.Of("@c:x") != convert.MaxLevel {
		t.Errorf("%d, %d, %d", p.Of("@a:x"), p.Of("@b:x"), p.Of("@c:x"))
	}
	if n := p.Named(); len(n) != 2 || n["@c:x"] != convert.MaxLevel {
		t.Errorf("named: %v", n)
	}
	if users := string(p.With("@b:x", 90)["users"]); users != `{"@a:x":50,"@b:x":90}` {
		t.Errorf("users = %s: a creator must not be among them", users)
	}
}
