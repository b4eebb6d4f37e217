package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// hubOrigin is a revision of a repository on the hub.
type hubOrigin struct {
	c    *Client
	name Name
}

// get asks the endpoint for a path. Errors say what the hub means by its status.
func (o *hubOrigin) get(ctx context.Context, path string, from int64) (*http.Response, int64, error) {
	reply, begin, err := get(ctx, http.MethodGet, o.c.Endpoint+path, from, func(r *http.Request) {
		if o.c.Token != "" {
			r.Header.Set("Authorization", "Bearer "+o.c.Token)
		}
	})
	s := (*statusError)(nil)
	switch {
	case !errors.As(err, &s):
		return reply, begin, err
	case s.kind == "RepoNotFound" || s.kind == "RevisionNotFound" || s.kind == "EntryNotFound":
		return nil, 0, fmt.Errorf("%w: %w", ErrNotFound, s)
	case s.kind == "GatedRepo":
		return nil, 0, fmt.Errorf("%w: accept the model's conditions on its page, with the account of the token: %w", ErrDenied, s)
	case errors.Is(err, ErrDenied) && o.c.Token == "":
		return nil, 0, fmt.Errorf("%w: no token was sent (set HF_TOKEN, or log in with `hf auth login`), and a wrong name looks the same: %w", ErrDenied, s)
	case errors.Is(err, ErrDenied):
		return nil, 0, fmt.Errorf("%w: the token does not open it, and a wrong name looks the same: %w", ErrDenied, s)
	}
	return nil, 0, err
}

// maxListing bounds the description of a repository or a bucket, in bytes.
const maxListing = 16 << 20

// list implements origin.
func (o *hubOrigin) list(ctx context.Context) (sha string, files map[string]file, err error) {
	path := "/api/models/" + o.name.Repo + "/revision/" + url.PathEscape(o.name.Revision) + "?blobs=true"
	reply, _, err := o.get(ctx, path, 0)
	if err != nil {
		return "", nil, err
	}
	defer reply.Body.Close()
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   int64  `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   int64  `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	data, err := io.ReadAll(io.LimitReader(reply.Body, maxListing+1))
	switch {
	case err != nil:
		return "", nil, err
	case len(data) > maxListing:
		return "", nil, fmt.Errorf("%s describes %s in more than %d bytes", o.c.Endpoint, o.name.Repo,
			maxListing)
	}
	if err := json.Unmarshal(data, &info); err != nil || !commit.MatchString(info.SHA) {
		return "", nil, fmt.Errorf("%s answers like no hub: %s has no JSON with a commit (HF_ENDPOINT, proxies and firewalls may be the reason)", o.c.Endpoint, path)
	}
	files = map[string]file{}
	for _, s := range info.Siblings {
		f := file{Size: s.Size, BlobID: strings.ToLower(s.BlobID)}
		if s.LFS != nil {
			f.SHA256, f.LFS, f.Size = strings.ToLower(s.LFS.SHA256), s.LFS.Size, s.LFS.Size
		}
		files[s.Name] = f
	}
	return info.SHA, files, nil
}

// open implements origin.
func (o *hubOrigin) open(ctx context.Context, sha, name string, _ file, from int64) (*content, error) {
	reply, begin, err := o.get(ctx, "/"+o.name.Repo+"/resolve/"+sha+"/"+
		(&url.URL{Path: name}).EscapedPath(), from)
	if err != nil {
		return nil, err
	}
	return &content{ReadCloser: reply.Body, begin: begin}, nil
}
