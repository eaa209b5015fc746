package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// Keys encrypt or decrypt an archive. The zero value does not encrypt.
type Keys struct {
	recipients []age.Recipient
	identities []age.Identity
}

// Encrypts reports whether an archive that is written with the keys is encrypted.
func (k Keys) Encrypts() bool { return len(k.recipients) > 0 }

// To adds recipients: public keys such as age1..., from the command line or from a file with
// one per line.
func (k *Keys) To(keys []string, file string) error {
	if file != "" {
		data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				keys = append(keys, line)
			}
		}
	}
	for _, key := range keys {
		r, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil {
			return fmt.Errorf("recipient %q is not a public key of age: it should begin with age1", key)
		}
		k.recipients = append(k.recipients, r...)
	}
	return nil
}

// Identity adds the private keys in a file.
func (k *Keys) Identity(file string) error {
	f, err := os.Open(file) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return fmt.Errorf("%s holds no private key of age", file) // the library's error could reveal part of it
	}
	k.identities = append(k.identities, ids...)
	return nil
}

// Own adds the keys of an installation, as made by NewKey: archives are encrypted for the first
// one in the file, and each of them decrypts what was encrypted for it.
func (k *Keys) Own(file string) error {
	own, all, err := readOwn(file)
	if err != nil {
		return err
	}
	k.recipients, k.identities = append(k.recipients, own.Recipient()), append(k.identities, all...)
	return nil
}

// Recipient returns the public part of the key that archives are encrypted for, which is the
// first one in a file made by NewKey.
func Recipient(file string) (string, error) {
	own, _, err := readOwn(file)
	if err != nil {
		return "", err
	}
	return own.Recipient().String(), nil
}

func readOwn(file string) (first *age.X25519Identity, all []age.Identity, err error) {
	var k Keys
	if err := k.Identity(file); err != nil {
		return nil, nil, err
	}
	for _, id := range k.identities {
		if own, ok := id.(*age.X25519Identity); ok {
			return own, k.identities, nil
		}
	}
	return nil, nil, fmt.Errorf("%s holds no private key that begins with AGE-SECRET-KEY-1", file)
}

// NewKey makes a private key and returns the text of its file, as age-keygen writes it.
func NewKey(comment string) ([]byte, error) {
	own, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "# %s\n# public key: %s\n%s\n", comment, own.Recipient(), own), nil
}

// Passphrase uses the first line of a file to encrypt and decrypt.
func (k *Keys) Passphrase(file string) error {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	phrase := strings.TrimRight(string(line), "\r")
	if len(phrase) < 8 {
		return fmt.Errorf("the first line of %s is too short for a passphrase: at least 8 characters", file)
	}
	r, err := age.NewScryptRecipient(phrase)
	if err != nil {
		return err
	}
	id, err := age.NewScryptIdentity(phrase)
	if err != nil {
		return err
	}
	if len(k.recipients) > 0 {
		return errors.New("a backup is encrypted for recipients or with a passphrase, not both")
	}
	k.recipients, k.identities = append(k.recipients, r), append(k.identities, id)
	return nil
}

const ageMagic = "age-encryption.org/v1\n"

// decrypt removes the encryption, if there is any.
func (k Keys) decrypt(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	if head, _ := b.Peek(len(ageMagic)); string(head) != ageMagic {
		return b, nil
	}
	if len(k.identities) == 0 {
		return nil, &KeyError{"a key is needed to read it"}
	}
	plain, err := age.Decrypt(b, k.identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, &KeyError{"this is not the key to it"}
	}
	if err != nil {
		return nil, corrupt(err)
	}
	return plain, nil
}
