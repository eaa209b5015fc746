package sim

import "testing"

func TestSection0_1_ASchemaSaysWhatIsWrongInAjvsWords(t *testing.T) {
	s := parseSchema("roomId!:s text:s|roomName!:s text:s flag:b")
	for _, c := range []struct {
		body Doc
		want string
	}{
		{Doc{"roomId": "r"}, ""},
		{Doc{"roomName": "r", "flag": true}, ""},
		{Doc{"roomId": "r", "text": nil}, ""},
		{Doc{}, "must have required property 'roomId'\n must match a schema in anyOf"},
		{Doc{"roomId": "r", "flag": true}, "must NOT have additional properties\n must match a schema in anyOf"},
		{Doc{"roomId": 1.0}, "must be string\n must match a schema in anyOf"},
		{Doc{"roomId": nil}, "must be string\n must match a schema in anyOf"},
	} {
		if got := s.check(c.body); got != c.want {
			t.Errorf("%v: got %q, want %q", c.body, got, c.want)
		}
	}
	if got := parseSchema("a!:s ...").check(Doc{"a": "x", "b": 1.0}); got != "" {
		t.Errorf("an open schema said %q", got)
	}
}
