package alarm

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"
)

// Mail sends messages through an SMTP server.
type Mail struct {
	// URL names the server: smtps://user@host for TLS from the beginning,
	// smtp://user@host for STARTTLS, which the server must offer, smtp+plain://host
	// without encryption for a relay on this host. Without a user there is no
	// authentication. The ports are 465, 587 and 25 unless the URL says otherwise.
	URL          string
	PasswordFile string // readable by its owner only; "" without a user
	From, To     string
	Roots        *x509.CertPool // the authorities to trust; nil for those that this host trusts
}

// Name names the way.
func (m Mail) Name() string { return "mail" }

// ParseMailURL parses the URL of a mail server; its error says what is wrong with it.
func ParseMailURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" && u.Scheme != "smtp+plain":
		return nil, errors.New("must look like smtp://user@smtp.example.org, smtps://user@smtp.example.org:465 or smtp+plain://127.0.0.1")
	case u.RawQuery != "" || u.Path != "" && u.Path != "/":
		return nil, errors.New("must have no path and no query")
	}
	if _, has := u.User.Password(); has {
		return nil, errors.New("must not have a password: it belongs in a file, see alarm_mail_password_file")
	}
	return u, nil
}

// Send delivers one mail to the server.
func (m Mail) Send(ctx context.Context, message Message) error {
	to, err := ParseMailURL(m.URL)
	if err != nil {
		return fmt.Errorf("the URL of the mail server %w", err)
	}
	client, err := m.client(to)
	if err != nil {
		return err
	}
	letter := mail.NewMsg()
	if err := errors.Join(letter.From(m.From), letter.To(m.To)); err != nil {
		return err
	}
	letter.Subject(cut(message.Title, 200))
	letter.SetDate()
	letter.SetMessageID()
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // no vacation answers, RFC 3834
	letter.SetBodyString(mail.TypeTextPlain, message.Text+"\n")
	if err := client.DialAndSendWithContext(ctx, letter); err != nil {
		return fmt.Errorf("%s: %w", to.Host, err)
	}
	return nil
}

// refusal matches the code with which a mail server refuses.
var refusal = regexp.MustCompile(`\b[45]\d\d\b`)

// advice says what to correct after an error of Send.
func (m Mail) advice(err error) string {
	text := err.Error()
	code := cmp.Or(refusal.FindString(text), "none")
	switch {
	case strings.Contains(text, "chmod "), strings.Contains(text, "the URL of the mail server"):
		return "" // the error itself says so
	case strings.Contains(text, "certificate"):
		return "name the server in alarm_mail_url as its certificate does"
	case strings.Contains(text, "STARTTLS"):
		return "name a port with encryption in alarm_mail_url, such as smtps://HOST:465"
	case slices.Contains([]string{"530", "534", "535"}, code):
		return "correct the user in alarm_mail_url and the password in " + m.PasswordFile
	case slices.Contains([]string{"452", "552"}, code):
		return "make room in the mailbox of " + m.To + ", or set another one in alarm_mail_to"
	case code[0] == '4':
		return "the mail server refuses for a time: try again later"
	case code[0] == '5':
		return "set addresses in alarm_mail_from and alarm_mail_to that the mail server takes"
	}
	return "let this host connect to the mail server; many providers block port 25: try 587 or 465 in alarm_mail_url"
}

func (m Mail) client(to *url.URL) (*mail.Client, error) {
	options := []mail.Option{mail.WithTimeout(limit), mail.WithTLSConfig(&tls.Config{ServerName: to.Hostname(), RootCAs: m.Roots, MinVersion: tls.VersionTLS12})}
	port := 587
	switch to.Scheme {
	case "smtps":
		port = 465
		options = append(options, mail.WithSSL())
	case "smtp":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	default:
		port = 25
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if p := to.Port(); p != "" {
		port, _ = strconv.Atoi(p)
	}
	options = append(options, mail.WithPort(port))
	if user := to.User.Username(); user != "" {
		password, _, err := secretLines(m.PasswordFile)
		if err != nil {
			return nil, err
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(user), mail.WithPassword(password))
	}
	return mail.NewClient(to.Hostname(), options...)
}
