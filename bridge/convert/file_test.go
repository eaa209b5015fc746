package convert

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"appliance/bridge/rocketchat"
)

func TestContentTypesAreLookedAt(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n"
	for _, tc := range []struct{ said, name, head, want string }{
		{"image/png", "a.png", png, "image/png"},
		{"image/jpeg", "a.jpg", png, "image/png"},
		{"image/png", "a.png", "<html><script>", "application/octet-stream"},
		{"image/svg+xml", "a.svg", "<?xml version='1.0'?><svg>", "image/svg+xml"},
		{"", "a.png", png, "image/png"},
		{"", "a.pdf", "%PDF-1.4", "application/pdf"},
		{"audio/ogg", "a.ogg", "OggS\x00", "audio/ogg"},
		{"audio/mp4", "a.m4a", "\x00\x00\x00\x18ftypmp42", "audio/mp4"},
		{"image/heic", "a.heic", "\x00\x01\x02\x03", "image/heic"},
		{"video/mp4", "a.mp4", "MZ\x90\x00", "video/mp4"},
		{"nonsense", "a", "", "application/octet-stream"},
		{"text/html; charset=utf-8", "a.html", "<html>", "text/html"},
	} {
		if got := ContentType(tc.said, tc.name, looks(tc.head)); got != tc.want {
			t.Errorf("ContentType(%q, %q, %q) = %q, want %q", tc.said, tc.name, tc.head, got, tc.want)
		}
	}
}

func TestFileNamesAreSafe(t *testing.T) {
	for _, tc := range []struct{ name, kind, want string }{
		{"harbour view.png", "image/png", "harbour view.png"},
		{"../../etc/passwd", "", "passwd"},
		{`C:\Users\a\b.txt`, "text/plain", "b.txt"},
		{"", "image/jpeg", "file.jpg"},
		{"a\u202egnp.exe", "", "agnp.exe"},
		{"\u200b\u200b", "text/plain", "file.txt"},
		{"x\r\nContent-Type: y", "", "x Content-Type: y"},
		{"cat.png", "application/octet-stream", "cat.png.bin"},
		{"...", "", "file"},
	} {
		if got := FileName(tc.name, tc.kind); got != tc.want {
			t.Errorf("FileName(%q, %q) = %q, want %q", tc.name, tc.kind, got, tc.want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	f.Add("a.png", "image/png")
	f.Add(strings.Repeat("é", 3000)+".jpeg", "")
	f.Fuzz(func(t *testing.T, name, kind string) {
		got := FileName(name, kind)
		if got == "" || len(got) > maxFileName+32 || strings.ContainsAny(got, "/\\\r\n\x00") || !utf8.ValidString(got) || got == "." || got == ".." {
			t.Errorf("FileName(%q, %q) = %q", name, kind, got)
		}
	})
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1536: "1.5 kB", 10 << 20: "10 MB", 104857600: "100 MB", 5 << 30: "5 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func looks(head string) string {
	if head == "" {
		return ""
	}
	return http.DetectContentType([]byte(head))
}

// The caption of a file that was edited in Rocket.Chat is the new one, whether the
// server writes it to msg (7.x) or next to the file, where msg keeps the old one (8.x).
func TestAnEditedCaptionReplacesTheOldOne(t *testing.T) {
	file := `"files":[{"_id":"f","name":"a.txt","type":"text/plain"}],"file":{"_id":"f","name":"a.txt","type":"text/plain"}`
	for name, c := range map[string]struct{ message, want string }{
		"as it was sent with msg":            {`"msg":"old","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt","description":null}]`, "old"},
		"as it was sent with a description":  {`"msg":"","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt","description":"old"}]`, "old"},
		"as it was sent with both":           {`"msg":"see","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt","description":"old"}]`, "see\nold"},
		"edited, sent with msg, 7.x":         {`"editedAt":"2026-01-01T00:00:00.000Z","msg":"new","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt"}]`, "new"},
		"edited, sent with msg, 8.x":         {`"editedAt":"2026-01-01T00:00:00.000Z","msg":"old","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt","description":"new"}]`, "new"},
		"edited, sent with a description":    {`"editedAt":"2026-01-01T00:00:00.000Z","msg":"","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt","description":"new"}]`, "new"},
		"edited, sent without a caption 8.x": {`"editedAt":"2026-01-01T00:00:00.000Z","msg":"","attachments":[{"type":"file","title":"a.txt","title_link":"/file-upload/f/a.txt","description":"new"}]`, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			var m rocketchat.Message
			err := json.Unmarshal([]byte("{"+file+","+c.message+"}"), &m)
			if err != nil {
				t.Fatal(err)
			}
			files, rest := Uploads(m)
			if len(files) != 1 || rest.Text != c.want {
				t.Errorf("%d files, and %q, want %q", len(files), rest.Text, c.want)
			}
		})
	}
}
