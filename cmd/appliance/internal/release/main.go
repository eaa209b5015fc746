// Command release is for publishers of the program: it makes and uses the key that
// releases are signed with, and writes the files that go with the program.
// compose/stage/release.sh calls it, see docs/release.md. It is not part of a release.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"aead.dev/minisign"

	"appliance/provision/selfupdate"
)

const usage = `usage: release COMMAND
  keygen FILE                     make a key: the secret half in FILE, which must not exist, the public half on standard output
  pubkey FILE                     print the public half of a key
  sign FILE VERSION UNIX <SUMS    sign a list of checksums as that of a version, at a time in seconds
  verify KEY SUMS SIGNATURE       verify the signature with the public key KEY and print the version it names
  files DIR VERSION UNIX          write manual pages, completion and systemd units into directories of DIR
  sbom PROGRAM VERSION UNIX       print what a program is made of, in CycloneDX
`

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "release: error: %v\n", err)
		os.Exit(1)
	}
}

// run executes one command. A wrong number of arguments shows the usage.
func run(args []string, in io.Reader, out io.Writer) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch {
	case name == "keygen" && len(args) == 1:
		return generate(args[0], out)
	case name == "pubkey" && len(args) == 1:
		key, err := readKey(args[0])
		if err != nil {
			return err
		}
		return printPublic(key, out)
	case name == "verify" && len(args) == 3:
		return verify(args[0], args[1], args[2], out)
	case len(args) == 3:
		return dated(name, args, in, out)
	}
	return misused()
}

// dated executes a command whose output contains a time.
func dated(name string, args []string, in io.Reader, out io.Writer) error {
	seconds, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	at := time.Unix(seconds, 0).UTC()
	switch name {
	case "sign":
		return sign(args[0], args[1], at, in, out)
	case "files":
		return files(args[0], args[1], at)
	case "sbom":
		return sbom(args[0], args[1], at, out)
	}
	return misused()
}

func misused() error {
	_, err := io.WriteString(os.Stderr, usage)
	return errors.Join(errors.New("which command?"), err)
}

// generate makes a key whose secret half only its owner can read.
func generate(name string, out io.Writer) error {
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		return err
	}
	text, err := key.MarshalText()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return printPublic(key, out)
}

func printPublic(key minisign.PrivateKey, out io.Writer) error {
	public, ok := key.Public().(minisign.PublicKey)
	if !ok {
		return errors.New("the key has no public half")
	}
	_, err := fmt.Fprintln(out, public)
	return err
}

// readKey reads a secret key from a file that nobody else can read.
func readKey(name string) (minisign.PrivateKey, error) {
	var key minisign.PrivateKey
	f, err := os.Open(name)
	if err != nil {
		return key, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return key, err
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return key, fmt.Errorf("others can read the key: type: chmod 600 %s", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return key, err
	}
	if err := key.UnmarshalText(text); err != nil {
		return key, fmt.Errorf("%s holds no secret key without a password: %w", name, err)
	}
	return key, nil
}

func sign(file, version string, at time.Time, in io.Reader, out io.Writer) error {
	key, err := readKey(file)
	if err != nil {
		return err
	}
	sums, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return err
	}
	signature, err := selfupdate.Sign(key, sums, version, at)
	if err != nil {
		return err
	}
	_, err = out.Write(append(signature, '\n'))
	return err
}

func verify(key, sumsFile, signatureFile string, out io.Writer) error {
	sums, err := os.ReadFile(sumsFile)
	if err != nil {
		return err
	}
	signature, err := os.ReadFile(signatureFile)
	if err != nil {
		return err
	}
	version, err := selfupdate.Verify([]string{key}, sums, signature)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, version)
	return err
}
