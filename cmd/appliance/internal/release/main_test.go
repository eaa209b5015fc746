package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a command and returns what it printed.
func command(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(args, strings.NewReader(in), &out)
	return out.String(), err
}

func TestAKeyIsMadeUsedAndKeptFromOthers(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "release.key")
	public, err := command(t, "", "keygen", file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if secret, err := os.ReadFile(file); err != nil || strings.Contains(public, strings.TrimSpace(string(secret))) {
		t.Errorf("the secret half was printed: %v", err)
	}
	if again, err := command(t, "", "pubkey", file); err != nil || again != public || !strings.HasPrefix(public, "RW") {
		t.Errorf("%q and %q, %v", public, again, err)
	}
	if _, err := command(t, "", "keygen", file); err == nil {
		t.Error("a key was overwritten")
	}

	const sums = "0000  appliance_linux_amd64\n"
	signature, err := command(t, sums, "sign", file, "v1.2.3", "1700000000")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"SHA256SUMS": sums, "SHA256SUMS.minisig": signature}
	for name, text := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if version, err := command(t, "", "verify", strings.TrimSpace(public), filepath.Join(dir, "SHA256SUMS"), filepath.Join(dir, "SHA256SUMS.minisig")); err != nil || version != "v1.2.3\n" {
		t.Errorf("%q, %v", version, err)
	}
	if _, err := command(t, sums, "sign", file, "0123abc", "1700000000"); err == nil || !strings.Contains(err.Error(), "is not the version of a release") {
		t.Errorf("a commit was signed as a release: %v", err)
	}

	if err := os.Chmod(file, 0o644); err != nil { //nolint:gosec // what is refused
		t.Fatal(err)
	}
	if _, err := command(t, sums, "sign", file, "v1.2.3", "1700000000"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read was used: %v", err)
	}
}
