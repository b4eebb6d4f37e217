package hub

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/bucket"
)

// Scheme may stand before a name on the hub, where it must not be taken for a path.
const Scheme = "hf://"

// schemes are those of addresses that have checkpoints.
var schemes = []string{"s3", "gs", "https", "http"}

// Name is a checkpoint elsewhere: a revision of a repository on the hub, or the
// address of a folder in a bucket or on a web server.
type Name struct {
	Repo     string // "org/name"
	Revision string // a branch, a tag or a commit
	URL      string // in place of both: s3://bucket/folder, gs://bucket/folder or https://host/folder
}

// Source: huggingface_hub utils/_validators.py validate_repo_id.
var (
	part     = `[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?`
	repo     = regexp.MustCompile(`^` + part + `/` + part + `$`)
	revision = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+-]{0,254}$`)
	commit   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ParseName reads a name, and says whether it is one. Without a scheme it may be
// a relative path as well: whoever has a directory of that name means that.
func ParseName(s string) (Name, bool) {
	if scheme, _, ok := strings.Cut(s, "://"); ok && scheme+"://" != Scheme {
		u, err := url.Parse(s)
		ok = slices.Contains(schemes, scheme) && err == nil && u.Host != "" && u.User == nil && !strings.ContainsAny(s, "?#") &&
			len(s) < 2048
		return Name{URL: strings.TrimRight(s, "/")}, ok
	}
	s = strings.TrimPrefix(s, Scheme)
	id, rev, at := strings.Cut(s, "@")
	if !at {
		rev = "main"
	}
	ok := repo.MatchString(id) && !strings.Contains(id, "--") && !strings.Contains(id, "..") &&
		!strings.HasSuffix(id, ".git") &&
		revision.MatchString(rev) && !strings.Contains(rev, "..") && !strings.Contains(rev, "//") &&
		!strings.HasSuffix(rev, "/")
	return Name{Repo: id, Revision: rev}, ok
}

// Elsewhere reports whether a reference says by its scheme that it is no path.
func Elsewhere(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (scheme+"://" == Scheme || slices.Contains(schemes, scheme))
}

// String is the name with its revision, without one for the branch main, or the address.
func (n Name) String() string {
	switch {
	case n.URL != "":
		return n.URL
	case n.Revision == "main":
		return n.Repo
	}
	return n.Repo + "@" + n.Revision
}

// Reference is the name with its scheme.
func (n Name) Reference() string {
	if n.URL != "" {
		return n.URL
	}
	return Scheme + n.String()
}

// folder is the directory in the cache.
func (n Name) folder() string {
	if n.URL == "" {
		return "models--" + strings.ReplaceAll(n.Repo, "/", "--")
	}
	return bucket.FolderName(n.URL)
}

// ref is the name of what is kept about the revision: "main" for an address.
func (n Name) ref() string {
	if n.URL != "" {
		return "main"
	}
	return n.Revision
}
