package main

import (
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"appliance/bridge/mustrun"
	"appliance/provision/external/mongotest"
)

// Rocket.Chat's files go to the operator's storage once that has accepted a file, with the keys
// of the key file, and back into the database when the answers say so.
func TestFilesGoToTheOperatorsStorage(t *testing.T) {
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	storage := s3mem.New()
	if err := storage.CreateBucket("files"); err != nil {
		t.Fatal(err)
	}
	at, err := mongotest.Address()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(gofakes3.New(storage).Server())
	_ = srv.Listener.Close()
	if srv.Listener, err = net.Listen("tcp", net.JoinHostPort(at, "0")); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.Close()
	place := "s3+http://" + srv.Listener.Addr().String()
	w := newWorkplace(t)
	keys, dir := filepath.Join(w.dir, "keys"), filepath.Join(w.dir, "appliance")
	if err := os.WriteFile(keys, []byte("AKIA1\ns3cret-one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := func(want string, args ...string) {
		t.Helper()
		out, err := w.command(append([]string{"up", "--dir", dir, "--patience", "0s"}, args...)...).CombinedOutput()
		if failed := strings.HasPrefix(want, "error: "); (err != nil) != failed || !strings.Contains(string(out), strings.TrimPrefix(want, "error: ")) || strings.Contains(string(out), "s3cret") {
			t.Fatalf("up %v: %v, want %q\n%s", args, err, want, out)
		}
		found, err := storage.ListBucket("files", nil, gofakes3.ListBucketPage{})
		if err != nil || len(found.Contents) != 0 {
			t.Errorf("%+v is left in the bucket; %v", found, err)
		}
	}
	env := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "rocketchat.env"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	has := func(want string) {
		t.Helper()
		if env := env(); !strings.Contains(env, want) {
			t.Errorf("Rocket.Chat is not told %s:\n%s", want, env)
		}
	}
	up("error: create the bucket nothere there", "--set", "domain=chat.example.test", "--set", "tls=internal", "--set", "uploads="+place+"/nothere", "--set", "uploads_key_file="+keys)
	if _, err := os.Stat(dir + "/appliance.yaml"); err == nil {
		t.Error("something was changed")
	}
	up("Rocket.Chat ", "--set", "domain=chat.example.test", "--set", "tls=internal", "--set", "uploads="+place+"/files", "--set", "uploads_key_file="+keys)
	has("\nOVERWRITE_SETTING_FileUpload_Storage_Type=AmazonS3\n")
	has("\nOVERWRITE_SETTING_FileUpload_S3_AWSSecretAccessKey='s3cret-one'\n")
	up("nothing to do")
	if err := os.WriteFile(keys, []byte("AKIA2\ns3cret-two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	up("rocketchat.env")
	has("\nOVERWRITE_SETTING_FileUpload_S3_AWSSecretAccessKey='s3cret-two'\n")
	up("rocketchat.env", "--set", "uploads=bundled", "--set", "uploads_key_file=")
	has("\nOVERWRITE_SETTING_FileUpload_Storage_Type=GridFS\n")
	if env := env(); strings.Contains(env, "s3cret") {
		t.Errorf("the keys stay:\n%s", env)
	}
}
