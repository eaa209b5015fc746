package certs

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
)

var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// challenges answers http-01 challenges of any authority, whichever process
// asked for the certificate: autocert keeps the answers in its cache, on disk.
func challenges(dir string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/acme-challenge/{token}", func(w http.ResponseWriter, r *http.Request) {
		t := r.PathValue("token")
		if !token.MatchString(t) {
			http.NotFound(w, r)
			return
		}
		names, _ := filepath.Glob(filepath.Join(dir, "acme", "*", t+"+http-01"))
		for _, name := range names {
			if data, err := os.ReadFile(name); err == nil { //nolint:gosec // the token cannot leave the directory
				_, _ = w.Write(data)
				return
			}
		}
		http.NotFound(w, r)
	})
	return mux
}
