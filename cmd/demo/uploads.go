package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
)

// file sends a file as a message in a room. The result of an earlier attempt is found by its name.
func (w *chatWriter) file(ctx context.Context, _, name string) (string, error) {
	latest, err := w.page(ctx, w.room, 0)
	if err != nil {
		return "", err
	}
	for _, m := range latest {
		if m.File.Name == name && m.User.Username == w.name {
			return m.ID, nil
		}
	}
	file, err := w.upload(ctx, name)
	if err != nil {
		return "", err
	}
	var out struct {
		Message struct {
			ID string `json:"_id"`
		} `json:"message"`
	}
	err = w.do(ctx, http.MethodPost, "rooms.mediaConfirm/"+w.room+"/"+file, map[string]string{"msg": ""}, &out)
	return out.Message.ID, err
}

// upload stores a file that nobody sees until it is confirmed.
func (w *chatWriter) upload(ctx context.Context, name string) (id string, err error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf("form-data; name=\"file\"; filename=%q", name)}, "Content-Type": {"text/plain"},
	})
	if err != nil {
		return "", err
	}
	_, _ = io.WriteString(part, "what is in "+name+"\n") // into memory
	_ = form.Close()
	var out struct {
		File struct {
			ID string `json:"_id"`
		} `json:"file"`
	}
	header := http.Header{"X-User-Id": {w.id}, "X-Auth-Token": {w.token}, "Content-Type": {form.FormDataContentType()}}
	data, err := send(ctx, w.client, w.base+"/api/v1/rooms.media/"+w.room, header, body.Bytes())
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	return out.File.ID, err
}

// file sends a file as a message in a room.
func (w *matrixWriter) file(ctx context.Context, id, name string) (string, error) {
	header := http.Header{"Authorization": {"Bearer " + w.token}, "Content-Type": {"text/plain"}}
	text := "what is in " + name + "\n"
	data, err := send(ctx, w.client, w.base+"/_matrix/media/v3/upload?filename="+url.QueryEscape(name), header, []byte(text))
	if err != nil {
		return "", err
	}
	var out struct {
		URI string `json:"content_uri"`
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return "", err
	}
	return w.put(ctx, "send/m.room.message", id, map[string]any{
		"msgtype": "m.file", "body": name, "url": out.URI, "info": map[string]any{"mimetype": "text/plain", "size": len(text)},
	})
}
