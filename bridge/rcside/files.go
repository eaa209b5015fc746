package rcside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// files transfers files both ways.
type files struct {
	*accounts
	*server
}

// Open implements relay.RocketChat. Files are served only to members of their room,
// so the bridge account joins a public channel that it otherwise only reads.
func (s *files) Open(ctx context.Context, p model.Portal, link string, limit int64) (model.Media, error) {
	var d *rocketchat.Download
	err := s.asReader(ctx, p.RCReader, func(c *rocketchat.Client) (err error) {
		d, err = c.Download(ctx, link, limit)
		if rocketchat.Status(err) == http.StatusForbidden && p.RCType == rocketchat.Channel {
			if err = c.Join(ctx, string(p.RCRoom)); err == nil {
				d, err = c.Download(ctx, link, limit)
			}
		}
		return err
	})
	if err != nil {
		return model.Media{}, mediaError(err)
	}
	return model.Media{Name: d.Name, Type: d.Type, Size: d.Size, Body: body{d.Body}}, nil
}

// HasUpload implements relay.RocketChat.
func (s *files) HasUpload(ctx context.Context, p model.Portal, file, name string) (ok bool, err error) {
	err = s.asReader(ctx, p.RCReader, func(c *rocketchat.Client) (err error) {
		ok, err = c.RoomHasUpload(ctx, p.RCType, string(p.RCRoom), file, name)
		return err
	})
	return ok, err
}

// body translates the errors of a download into errors of the relay.
type body struct{ io.ReadCloser }

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = mediaError(err)
	}
	return n, err
}

func mediaError(err error) error {
	if errors.Is(err, rocketchat.ErrTooLarge) {
		return fmt.Errorf("%w: %w", model.ErrTooLarge, err)
	}
	if errors.Is(err, rocketchat.ErrNoPicture) {
		return fmt.Errorf("%w: %w", model.ErrNotFound, err)
	}
	return side(err)
}

// Upload implements relay.RocketChat.
func (s *files) Upload(ctx context.Context, as model.Puppet, room ids.RCRoom, m model.Media) (string, error) {
	var file string
	err := s.asPuppet(ctx, as, func(c *rocketchat.Client) error {
		up, err := c.UploadMedia(ctx, string(room), rocketchat.Media{Name: m.Name, Type: m.Type, Size: m.Size, Body: m.Body})
		file = up.ID
		if rocketchat.Says(err, "error-file-too-large") {
			return fmt.Errorf("%w: %w", model.ErrTooLarge, err)
		}
		return err
	})
	return file, err
}

// Show implements relay.RocketChat. The text becomes the caption of the attachment:
// that is what an edit of such a message changes from 8.x on, whereas a text of the
// message itself would stay beside the new one for ever.
func (s *files) Show(ctx context.Context, as model.Puppet, room ids.RCRoom, file string, thread ids.RCMessage, text string) (id ids.RCMessage, err error) {
	err = s.asPuppet(ctx, as, func(c *rocketchat.Client) error {
		m, err := c.ConfirmMedia(ctx, string(room), file, rocketchat.MediaMessage{Description: text, Thread: string(thread)})
		s.noteSent(err)
		id = ids.RCMessage(m.ID)
		return err
	})
	return id, err
}

// FindShown implements relay.RocketChat.
func (s *files) FindShown(ctx context.Context, as model.Puppet, room ids.RCRoom, file string, since time.Time) (id ids.RCMessage, ok bool, err error) {
	err = s.asPuppet(ctx, as, func(c *rocketchat.Client) error {
		m, found, err := c.MessageWithFile(ctx, string(room), file, since)
		id, ok = ids.RCMessage(m.ID), found
		return err
	})
	return id, ok, err
}
