package sim

import (
	"net/http"
	"strings"
)

// page answers what is not REST: health, files, avatars, the front page.
func (e *Engine) page(c *call) (answer, bool) {
	p := c.r.URL.Path
	switch {
	case p == "/health":
		return health(Doc{"status": "ok"}), true
	case p == "/livez", p == "/readyz":
		return health(Doc{"status": "ok", "checks": Doc{"memory": "ok", "eventLoop": "ok", "mongo": "ok"}}), true
	case p == "/api/info", p == "/api/v1/info":
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

const frontPage = `<!doctype html><title>rocketsim</title><p>This is a simulator of Rocket.Chat for tests and demonstrations.
It is not Rocket.Chat and has no web client.
`

func health(d Doc) answer { return answer{status: http.StatusOK, body: d}.encoded() }

// info is GET /api/info: major.minor for everybody, all of the version with
// view-statistics (facts 2.6).
func (e *Engine) info(u Doc) Doc {
	d := Doc{"version": e.rel.short(), "success": true,
		"minimumClientVersions": Doc{"desktop": "3.9.6", "mobile": "4.39.0"}, "cloudWorkspaceId": "", "simulator": "rocketsim"}
	if u != nil && e.may(u, "view-statistics", "") {
		d["version"] = e.rel.version
		d["info"] = Doc{"version": e.rel.version, "build": Doc{"platform": "linux"}, "marketplaceApiVersion": "1.66.0"}
	}
	return d
}
