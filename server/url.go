package server

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// slashes are those that a client wrote too often: a base URL that ends with
// one and a path that begins with one make two.
var slashes = regexp.MustCompile(`/{2,}`)

// rollout is what NeMo Gym puts before the paths of a rollout, for those who
// follow its calls.
var rollout = regexp.MustCompile(`^/ng-rollout/[A-Za-z0-9][A-Za-z0-9._-]*(/|$)`)

// canonical lets a path find its route when it has a slash too many, within it or at its end, or
// stands behind a rollout's prefix. The path is edited as it was sent, so that a slash in a model's
// name, which is written %2F, stays.
func canonical(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := r.URL.EscapedPath()
		path := rollout.ReplaceAllString(slashes.ReplaceAllString(sent, "/"), "/")
		if path != "/" {
			path = strings.TrimSuffix(path, "/")
		}
		if plain, err := url.PathUnescape(path); err == nil && path != sent {
			u := *r.URL
			u.Path, u.RawPath = plain, path
			if plain == path {
				u.RawPath = ""
			}
			r = r.WithContext(r.Context())
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

// checkQuery refuses what a route would not read of a request's query, as the
// readers of bodies do with fields. The key is read before any route is known.
func checkQuery(r *http.Request, known []string) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return api.Errorf(api.CodeInvalidValue, "", "the query of the URL is not well formed: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case name != "key" && !slices.Contains(known, name) && len(known) == 0:
			return api.Errorf(api.CodeUnknownField, api.Clip(name),
				"unknown query parameter: this path takes none")
		case name != "key" && !slices.Contains(known, name):
			return api.Errorf(api.CodeUnknownField, api.Clip(name),
				"unknown query parameter: this path takes %s", strings.Join(known, ", "))
		case query.Get(name) == "" && !slices.Contains(dialect.Flags, name):
			return api.Errorf(api.CodeInvalidValue, name, "the query parameter is empty")
		case len(query[name]) > 1:
			return api.Errorf(api.CodeConflictingFields, name, "the query parameter is given twice")
		}
	}
	return nil
}
