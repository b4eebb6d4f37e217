package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// public reports whether a path never asks for a key: probes have none to send,
// and the console's files ask for one in the page. GET / is both.
func public(r *http.Request) bool {
	switch r.URL.Path {
	case "/livez", "/readyz", "/health", "/ping", "/v2/health/live", "/v2/health/ready", "/docs":
		return true
	case "/":
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return strings.HasPrefix(r.URL.Path, "/console/")
}

// authorize lets a request pass that bears one of the keys, an administrator's among them, or when
// there are none. It stands before the routes, so that a stranger cannot tell which exist.
func (s *Server) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k := s.keys.Load(); !public(r) && !k.open() && !k.lets(r) {
			s.writeError(w, r, api.Errorf(api.CodeUnauthorized, "",
				`send the key as "Authorization: Bearer KEY"`))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admin lets a request pass to h that bears an administrator's key. Without
// one configured, nobody passes: what changes models is never open by default.
func (s *Server) admin(h handler, query ...string) http.HandlerFunc {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		k := s.keys.Load()
		switch {
		case len(k.admins) == 0 || s.changes == nil:
			return api.Errorf(api.CodeAdminDisabled, "",
				"models cannot be changed here: the server was started without administrators' keys")
		case bearsKey(r, k.admins):
			return h(w, r)
		case bearsKey(r, k.users):
			return api.Errorf(api.CodeForbidden, "",
				"this path asks for an administrator's key, and this one is not")
		}
		return api.Errorf(api.CodeUnauthorized, "",
			`this path asks for an administrator's key: send it as "Authorization: Bearer KEY"`)
	}, query...)
}

// keySet is the digests of the keys that are good now.
type keySet struct{ users, admins [][sha256.Size]byte }

// open reports whether whoever comes is let in.
func (k *keySet) open() bool { return len(k.users) == 0 }

// lets reports whether a request bears one of the keys.
func (k *keySet) lets(r *http.Request) bool { return bearsKey(r, k.users) || bearsKey(r, k.admins) }

// SetKeys replaces the keys, from the next request on. They are as Config.Keys
// and Config.AdminKeys have them; when one is not good nothing changes.
func (s *Server) SetKeys(users, admins []string) error {
	if err := (Config{Keys: users, AdminKeys: admins}).Validate(); err != nil {
		return err
	}
	s.keys.Store(&keySet{digests(users), digests(admins)})
	return nil
}

// digests returns the digests that bearsKey compares with.
func digests(keys []string) [][sha256.Size]byte {
	var out [][sha256.Size]byte
	for _, key := range keys {
		out = append(out, sha256.Sum256([]byte(key)))
	}
	return out
}

// bearsKey reports whether a request bears one of the keys.
func bearsKey(r *http.Request, keys [][sha256.Size]byte) bool { return keyOf(r, keys) > 0 }

// keyOf returns which of the keys a request bears, from 1; 0 is none. It
// compares digests, each with each, so that the time taken says nothing of a
// key, not even its length.
func keyOf(r *http.Request, keys [][sha256.Size]byte) int {
	match := 0
	for _, sent := range credentials(r) {
		got := sha256.Sum256([]byte(sent))
		for i, want := range keys {
			match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(got[:], want[:]), i+1, match)
		}
	}
	return match
}

// clientOf names whose request r is: its key's number, else the address that it
// comes from. Clients behind one proxy without keys are one client.
func (s *Server) clientOf(r *http.Request) string {
	if n := keyOf(r, s.keys.Load().users); n > 0 {
		return "key " + strconv.Itoa(n)
	}
	if n := keyOf(r, s.keys.Load().admins); n > 0 {
		return "administrator " + strconv.Itoa(n)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// credentials returns what a request offers as a key. Reward clients that take
// nothing but a URL cannot send a header of their own: from http://x:KEY@host
// they make HTTP Basic, and ?key=KEY passes through all of them. Neither is
// logged: of a URL the log has the route's pattern alone.
func credentials(r *http.Request) []string {
	var sent []string
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		sent = append(sent, strings.TrimSpace(key))
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		sent = append(sent, key)
	}
	if _, password, ok := r.BasicAuth(); ok {
		sent = append(sent, password)
	}
	if r.URL.RawQuery != "" {
		if key := r.URL.Query().Get("key"); key != "" {
			sent = append(sent, key)
		}
	}
	return sent
}
