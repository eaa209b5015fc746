package support

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/site"
)

// Passwords in addresses that the operator has given are hidden wherever they occur, plain
// and as escaped in a URL.
func TestPasswordsOfAddressesAreHidden(t *testing.T) {
	a := answers.Answers{}
	a.MongoURL = "mongodb://chat:p%40ss-of-mongo@db1.example.org:27017,db2.example.org:27018/rc"
	a.BridgeDatabase = "postgres://bridge:word-of-bridge@db.example.org/bridge"
	a.UploadsKeyFile = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(a.UploadsKeyFile, []byte("access-key\nkey-of-uploads\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMask(&site.Site{Dir: t.TempDir(), Answers: a})
	for _, secret := range []string{"p@ss-of-mongo", "p%40ss-of-mongo", "word-of-bridge", "access-key", "key-of-uploads"} {
		if got := m.replace.Replace("before " + secret + " after"); strings.Contains(got, secret) || !strings.HasPrefix(got, "before ") {
			t.Errorf("%s: %s", secret, got)
		}
	}
}
