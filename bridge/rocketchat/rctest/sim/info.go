package sim

import (
	"net/http"
	"strings"
)

// page serves everything outside REST: health, files, avatars, the front page.
func (e *Engine) page(c *call) (answer, bool) {
	p := c.r.URL.Path
	switch {
	case p == "/health":
		return health(Doc{"status": "ok"}), true
	case p == "/livez", p == "/readyz":
		return health(Doc{"status": "ok", "checks": Doc{"memory": "ok", "eventLoop": "ok", "mongo": "ok"}}), true
	case p == "/api/info":
		c.authenticate()
		return answer{status: http.StatusOK, body: e.info(c.user)}.encoded(), true
	case strings.HasPrefix(p, "/file-upload/"):
		id, _, _ := strings.Cut(strings.TrimPrefix(p, "/file-upload/"), "/")
		return e.fileDownload(c, id), true
	case strings.HasPrefix(p, "/avatar/"):
		return e.avatarPage(c, strings.TrimPrefix(p, "/avatar/")), true
	case strings.HasPrefix(p, "/emoji-custom/"):
		return e.emojiPage(strings.TrimPrefix(p, "/emoji-custom/")), true
	case !strings.HasPrefix(p, "/api/"):
		return answer{status: http.StatusOK, raw: []byte(frontPage), header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}}, true
	}
	return answer{}, false
}

// noEndpoint returns the response for a route that this version does not have.
func (e *Engine) noEndpoint(method string) answer {
	if e.rel.nullBodyRefused && method != http.MethodGet {
		return answer{status: http.StatusMethodNotAllowed, raw: []byte{}}
	}
	return e.noSuchPage()
}

// noSuchPage is the web server's response below /api/v1 where there is no endpoint
// at all: plain text, not JSON.
func (e *Engine) noSuchPage() answer {
	kind := "text/plain; charset=UTF-8"
	if e.rel.nullBodyRefused {
		kind = "text/html; charset=utf-8"
	}
	return answer{status: http.StatusNotFound, raw: []byte("404 Not Found"), header: http.Header{"Content-Type": {kind}}}
}

const frontPage = `<!doctype html><title>rocketsim</title><p>This is a simulator of Rocket.Chat for tests and demonstrations.
It is not Rocket.Chat and has no web client.
`

func health(d Doc) answer { return answer{status: http.StatusOK, body: d}.encoded() }

// info is GET /api/info: major.minor for everybody, the full version with
// view-statistics (facts 2.6).
func (e *Engine) info(u Doc) Doc {
	d := Doc{"version": e.rel.short(), "success": true,
		"minimumClientVersions": Doc{"desktop": "3.9.6", "mobile": "4.39.0"}, "cloudWorkspaceId": ""}
	if u != nil && e.may(u, "view-statistics", "") {
		d["version"] = e.rel.version
		d["info"] = Doc{"version": e.rel.version, "build": Doc{"platform": "linux"}, "marketplaceApiVersion": "1.66.0"}
	}
	return d
}
