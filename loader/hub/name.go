package hub

import (
	"regexp"
	"strings"
)

// Scheme may stand before a name, where it must not be taken for a path.
const Scheme = "hf://"

// Name is a repository of models on the hub and one of its revisions.
type Name struct {
	Repo     string // "org/name"
	Revision string // a branch, a tag or a commit
}

// Source: huggingface_hub utils/_validators.py validate_repo_id.
var (
	part     = `[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?`
	repo     = regexp.MustCompile(`^` + part + `/` + part + `$`)
	revision = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+-]{0,254}$`)
	commit   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ParseName reads a name, and says whether it is one. It may be a relative path
// as well: whoever has a directory of that name means the directory.
func ParseName(s string) (Name, bool) {
	s = strings.TrimPrefix(s, Scheme)
	id, rev, at := strings.Cut(s, "@")
	if !at {
		rev = "main"
	}
	ok := repo.MatchString(id) && !strings.Contains(id, "--") && !strings.Contains(id, "..") && !strings.HasSuffix(id, ".git") &&
		revision.MatchString(rev) && !strings.Contains(rev, "..") && !strings.Contains(rev, "//") && !strings.HasSuffix(rev, "/")
	return Name{id, rev}, ok
}

// String is the name with its revision, without one for the branch main.
func (n Name) String() string {
	if n.Revision == "main" {
		return n.Repo
	}
	return n.Repo + "@" + n.Revision
}

// folder is the directory of a repository in the cache.
func (n Name) folder() string { return "models--" + strings.ReplaceAll(n.Repo, "/", "--") }
