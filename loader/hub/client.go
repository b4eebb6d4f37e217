package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client downloads from one hub into one cache. Its fields are set before the
// first call; it is then safe for concurrent use.
type Client struct {
	Endpoint string // without a slash at its end
	Cache    string // directory
	Token    string // "" for what is public; sent to the endpoint's host alone
	Offline  bool   // what the cache has, and nothing else

	// patience is how long a server may be silent, and pause how long the first
	// wait is before an interrupted download goes on; 0 for the defaults.
	patience, pause time.Duration
}

// Errors about a name. They are wrapped with what the hub said.
var (
	// ErrNotFound is returned for a repository or revision that the hub does not
	// have, or does not show to this token.
	ErrNotFound = errors.New("not on the hub")
	// ErrDenied is returned where the hub wants a token, or another one.
	ErrDenied = errors.New("the hub denies access")
	// ErrOffline is returned when a snapshot is not in the cache and the hub cannot be asked.
	ErrOffline = errors.New("not in the cache")
	// ErrCorrupt is returned for a file that has come with other contents than the hub named.
	ErrCorrupt = errors.New("wrong contents")
)

// statusError is an answer of the hub that is none of 200 and 206.
type statusError struct {
	url, status, said string
	code              int
}

func (e *statusError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("%s: %s", e.url, e.status)
	}
	return fmt.Sprintf("%s: %s: %s", e.url, e.status, e.said)
}

// transient reports whether a request that failed so may succeed later.
func transient(err error) bool {
	if s := (*statusError)(nil); errors.As(err, &s) {
		return s.code == http.StatusTooManyRequests || s.code == http.StatusRequestTimeout || s.code >= 500
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, errStalled) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// errStalled is the cause of a request's end when nothing comes any more.
var errStalled = errors.New("the server has fallen silent")

func (c *Client) wait() time.Duration {
	if c.patience > 0 {
		return c.patience
	}
	return 30 * time.Second
}

// httpClient follows redirects; a token goes to no other host.
var httpClient = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	TLSHandshakeTimeout:   10 * time.Second,
	ResponseHeaderTimeout: 30 * time.Second,
	MaxIdleConnsPerHost:   workers,
	ForceAttemptHTTP2:     true,
}}

// get asks for a path of the endpoint from a byte on. The reply is 200 or 206.
func (c *Client) get(ctx context.Context, method, path string, from int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.Endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "warm")
	r.Header.Set("Accept-Encoding", "identity") // lengths and ranges are of the file itself
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	reply, err := httpClient.Do(r)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode == http.StatusOK || reply.StatusCode == http.StatusPartialContent && from > 0 {
		return reply, nil
	}
	defer reply.Body.Close()
	s := &statusError{url: r.URL.Redacted(), status: reply.Status, code: reply.StatusCode, said: reply.Header.Get("X-Error-Message")}
	switch reply.Header.Get("X-Error-Code") {
	case "RepoNotFound", "RevisionNotFound", "EntryNotFound":
		return nil, fmt.Errorf("%w: %w", ErrNotFound, s)
	case "GatedRepo":
		return nil, fmt.Errorf("%w: accept the model's conditions on its page, with the account of the token: %w", ErrDenied, s)
	}
	switch reply.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: %w", ErrNotFound, s)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("%w: %s: %w", ErrDenied, c.tokenAdvice(), s)
	}
	return nil, s
}

func (c *Client) tokenAdvice() string {
	if c.Token == "" {
		return "no token was sent (set HF_TOKEN, or log in with `hf auth login`), and a wrong name looks the same"
	}
	return "the token does not open it, and a wrong name looks the same"
}

// file is one file of a commit.
type file struct {
	Size   int64  `json:"size"`
	BlobID string `json:"blob_id"`              // git's SHA-1
	SHA256 string `json:"lfs_sha256,omitempty"` // of a large file; "" of a small one
	LFS    int64  `json:"lfs_size,omitempty"`
}

// hash is what the file is verified by and named in the cache.
func (f file) hash() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.BlobID
}

// maxListing bounds the hub's description of a repository, in bytes.
const maxListing = 16 << 20

// list asks for the commit that a revision stands at, and its files.
func (c *Client) list(ctx context.Context, n Name) (sha string, files map[string]file, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.wait(), errStalled)
	defer cancel()
	path := "/api/models/" + n.Repo + "/revision/" + url.PathEscape(n.Revision) + "?blobs=true"
	reply, err := c.get(ctx, http.MethodGet, path, 0)
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
		return "", nil, fmt.Errorf("%s describes %s in more than %d bytes", c.Endpoint, n.Repo, maxListing)
	}
	if err := json.Unmarshal(data, &info); err != nil || !commit.MatchString(info.SHA) {
		return "", nil, fmt.Errorf("%s answers like no hub: %s has no JSON with a commit (HF_ENDPOINT, proxies and firewalls may be the reason)", c.Endpoint, path)
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
