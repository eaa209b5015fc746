package main

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"appliance/provision/selfupdate"
)

func TestTheProgramUpdatesItselfAndGoesBack(t *testing.T) {
	next := []byte("#!/bin/sh\necho '{\"version\":\"v2\"}'\n")
	sums := fmt.Sprintf("%x  %s\n", sha256.Sum256(next), selfupdate.Name())
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := selfupdate.Sign(key, []byte(sums), "v2.0.0", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := selfupdate.Sign(stranger, []byte(sums), "v2.0.0", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorkplace(t)
	t.Setenv("WORK", w.dir)
	program, err := program() // of the program that runs
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	same := fmt.Sprintf("%x  %s\n", sha256.Sum256(own), selfupdate.Name())
	sameSignature, err := selfupdate.Sign(key, []byte(same), "v2.0.0", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/SHA256SUMS":
			_, _ = w.Write([]byte(sums))
		case "/same/SHA256SUMS":
			_, _ = w.Write([]byte(same))
		case "/same/SHA256SUMS.minisig":
			_, _ = w.Write(sameSignature)
		case "/forged/SHA256SUMS":
			_, _ = w.Write([]byte(sums))
		case "/forged/SHA256SUMS.minisig":
			_, _ = w.Write(forged)
		case "/unsigned/SHA256SUMS":
			_, _ = w.Write([]byte(sums))
		case "/v2/SHA256SUMS.minisig":
			_, _ = w.Write(signature)
		case "/v2/" + selfupdate.Name():
			_, _ = w.Write(next)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "SSL_CERT_FILE="+ca)
	run := func(status int, says string, args ...string) {
		t.Helper()
		cmd := w.command(append([]string{"self-update"}, args...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != status || !strings.Contains(string(out), says) {
			t.Errorf("%v: status %d, want %d\n%s", args, got, status, out)
		}
	}
	run(2, "self-update takes ")
	run(1, "no other program is kept", "--rollback")
	run(1, "was built without a release key", srv.URL+"/v2")
	w.env = append(w.env, "TEST_RELEASE_KEY="+key.Public().(minisign.PublicKey).String())
	run(1, "404", srv.URL+"/v9")
	run(1, "the release is not signed", srv.URL+"/unsigned")
	run(1, "which is not one of this program's", srv.URL+"/forged")
	run(0, "nothing to do: this is already that release", srv.URL+"/same")
	run(0, `"changed":false`, srv.URL+"/same", "--json")
	run(1, `"status":1`, srv.URL+"/forged", "--json")
	run(2, "takes no checksum", "--rollback", "--sha256", strings.Repeat("0", 64))
	run(1, "nothing was changed", srv.URL+"/v2", "--sha256", strings.Repeat("0", 64))
	if data, err := os.ReadFile(program); err != nil || string(data[:4]) != "\x7fELF" {
		t.Fatalf("the program was changed: %v", err)
	}
	run(0, "updated to v2.0.0; the old program is "+selfupdate.Previous(program)+". Upgrade the installation with: appliance upgrade", srv.URL+"/v2")
	if data, err := os.ReadFile(program); err != nil || string(data) != string(next) {
		t.Fatalf("the program was not changed: %v", err)
	}
	if data, err := os.ReadFile(selfupdate.Previous(program)); err != nil || string(data[:4]) != "\x7fELF" {
		t.Fatalf("the old program was not kept: %v", err)
	}
	run(0, `{"previous":"`+selfupdate.Previous(program)+`","program":"`+program+`","rolled_back":true}`, "--rollback", "--json")
	run(0, "the previous program is back in place", "--rollback")
}
