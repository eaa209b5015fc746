package alarm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/wneessen/go-mail"
)

// Mail sends messages by an SMTP server.
type Mail struct {
	// URL names the server: smtps://user@host for TLS from the beginning, smtp://user@host
	// for STARTTLS, which the server must offer, smtp+plain://host without encryption for a
	// relay on this host. Without a user nobody signs in. The ports are 465, 587 and 25
	// unless the URL says otherwise.
	URL          string
	PasswordFile string // read by its owner only; "" without a user
	From, To     string
	Roots        *x509.CertPool // whom to trust; nil for whom this host trusts
}

// Name names the way.
func (m Mail) Name() string { return "mail" }

// ParseMailURL returns what is wrong with the URL of a mail server.
func ParseMailURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" && u.Scheme != "smtp+plain":
		return nil, errors.New("must be such as smtp://user@smtp.example.org or smtps://user@smtp.example.org:465")
	case u.RawQuery != "" || u.Path != "" && u.Path != "/":
		return nil, errors.New("must have no path and no query")
	}
	if _, has := u.User.Password(); has {
		return nil, errors.New("must not have a password: it belongs into a file, see alarm_mail_password_file")
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
