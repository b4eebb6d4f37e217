package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// public are the paths that never ask for a key: probes have none to send.
var public = map[string]bool{"/livez": true, "/readyz": true}

// authorize lets a request pass that bears one of the keys, or when there are
// none. It stands before the routes, so that a stranger cannot tell which exist.
func (s *Server) authorize(next http.Handler) http.Handler {
	if len(s.keys) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !public[r.URL.Path] && !s.bearsKey(r) {
			s.writeError(w, r, api.Errorf(api.CodeUnauthorized, "", `send the key as "Authorization: Bearer KEY"`))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearsKey compares digests, each with each, so that the time taken says
// nothing of a key, not even its length.
func (s *Server) bearsKey(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got := sha256.Sum256([]byte(strings.TrimSpace(key)))
	match := 0
	for _, want := range s.keys {
		match |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return match == 1
}
