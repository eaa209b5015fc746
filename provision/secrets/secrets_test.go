package secrets_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appliance/provision/secrets"
)

func TestSecretsAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, missing, err := secrets.Prepare(dir)
	if err != nil || len(missing) != len(first) {
		t.Fatalf("%d of %d missing, %v", len(missing), len(first), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Fatal("Prepare wrote something")
	}
	if err := secrets.Write(dir, first, missing); err != nil {
		t.Fatal(err)
	}
	second, missing, err := secrets.Prepare(dir)
	if err != nil || len(missing) != 0 {
		t.Fatalf("missing %v, %v", missing, err)
	}
	for name := range first {
		if strings.TrimSpace(first[name].Reveal()) != strings.TrimSpace(second[name].Reveal()) {
			t.Errorf("%s changed", name)
		}
		info, err := os.Stat(secrets.Path(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if info, _ := os.Stat(filepath.Join(dir, "secrets")); info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v", info.Mode())
	}
}

func TestOneThatExistsIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	set, missing, _ := secrets.Prepare(dir)
	if err := secrets.Write(dir, set, missing); err != nil {
		t.Fatal(err)
	}
	other, _, _ := secrets.Prepare(t.TempDir())
	if err := secrets.Write(dir, other, missing); err != nil {
		t.Fatal(err)
	}
	again, _, _ := secrets.Prepare(dir)
	if again[secrets.ASToken].Reveal() != set[secrets.ASToken].Reveal() {
		t.Error("replaced")
	}
}

func TestDataWithoutItsSecretIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data", "postgres", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, _, err := secrets.Prepare(dir)
	orphan, ok := errors.AsType[*secrets.OrphanError](err)
	if !ok || orphan.Name != secrets.PostgresPassword || !strings.Contains(orphan.Hint(), "from a backup") {
		t.Errorf("%v", err)
	}
}

// When the host boots, Docker restarts the containers of an installation whose files were deleted,
// and creates an empty directory in place of each file that they mount.
func TestADirectoryThatDockerMadeIsNotASecret(t *testing.T) {
	dir := t.TempDir()
	name := secrets.Path(dir, secrets.PostgresPassword)
	if err := os.MkdirAll(name, 0o755); err != nil {
		t.Fatal(err)
	}
	set, missing, err := secrets.Prepare(dir)
	if err != nil || !slices.Contains(missing, secrets.PostgresPassword) {
		t.Fatalf("missing %v: %v", missing, err)
	}
	if err := secrets.Write(dir, set, missing); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != set[secrets.PostgresPassword].Reveal() {
		t.Errorf("%q: %v", data, err)
	}
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o755), os.MkdirAll(filepath.Join(dir, "data", "postgres", "base"), 0o700)); err != nil {
		t.Fatal(err)
	}
	_, _, err = secrets.Prepare(dir)
	orphan, ok := errors.AsType[*secrets.OrphanError](err)
	if !ok || !strings.Contains(orphan.Hint(), "rmdir '"+name+"'") {
		t.Errorf("with its data still there: %v", err)
	}
	if _, guarding := secrets.Missing(dir); !slices.Contains(guarding, secrets.PostgresPassword) {
		t.Errorf("guarding %v", guarding)
	}
}

func TestAnEmptySecretIsNotASecret(t *testing.T) {
	dir := t.TempDir()
	set, missing, _ := secrets.Prepare(dir)
	if err := secrets.Write(dir, set, missing); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secrets.Path(dir, secrets.ASToken), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := secrets.Prepare(dir); err == nil || !strings.Contains(err.Error(), "as_token is empty") {
		t.Errorf("%v", err)
	}
}

func TestTheSigningKeyIsTheSameForBothHomeservers(t *testing.T) {
	set, _, _ := secrets.Prepare(t.TempDir())
	key := set[secrets.MatrixKey].Reveal()
	block, _ := pem.Decode([]byte(key))
	if block == nil || block.Type != "MATRIX PRIVATE KEY" || !strings.HasPrefix(block.Headers["Key-ID"], "ed25519:") || len(block.Bytes) != 32 {
		t.Fatalf("not Dendrite's format: %v", block)
	}
	synapse, err := secrets.SynapseKey(key)
	f := strings.Fields(synapse)
	if err != nil || len(f) != 3 || f[0] != "ed25519" || "ed25519:"+f[1] != block.Headers["Key-ID"] {
		t.Fatalf("%v", err)
	}
	if seed, err := base64.RawStdEncoding.DecodeString(f[2]); err != nil || string(seed) != string(block.Bytes) {
		t.Error("another key")
	}
}
