package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Client downloads into one cache. Its fields are set before the first call; it
// is then safe for concurrent use.
type Client struct {
	Endpoint string // without a slash at its end
	Cache    string // directory
	Token    string // "" for what is public; sent to the endpoint's host alone
	Offline  bool   // what the cache has, and nothing else

	// S3 and GS are the addresses of the stores of buckets; "" for Amazon's and Google's.
	S3, GS string

	// patience is how long a server may be silent, and pause how long the first
	// wait is before an interrupted download goes on; 0 for the defaults.
	patience, pause time.Duration
}

// Errors about a name. They are wrapped with what the hub said.
var (
	// ErrNotFound is returned for a repository, revision or folder that the other
	// side does not have, or does not show to this token.
	ErrNotFound = errors.New("not found")
	// ErrDenied is returned where the other side wants to know who asks, or somebody else.
	ErrDenied = errors.New("access denied")
	// ErrOffline is returned when a snapshot is not in the cache and the hub cannot be asked.
	ErrOffline = errors.New("not in the cache")
	// ErrCorrupt is returned for a file that has come with other contents than the hub named.
	ErrCorrupt = errors.New("wrong contents")
)

// errAnew is returned for a file that is no longer the one that was listed.
var errAnew = fmt.Errorf("%w: it was written anew while it was downloaded", ErrCorrupt)

// statusError is an answer of the hub that is none of 200 and 206.
type statusError struct {
	url, status, said, kind string
	code                    int
}

func (e *statusError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("%s: %s", e.url, e.status)
	}
	return fmt.Sprintf("%s: %s: %s", e.url, e.status, e.said)
}

// sorted wraps the error by what its status means, the same for every other side.
func (e *statusError) sorted() error {
	switch e.code {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, e)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrDenied, e)
	}
	return e
}

// transient reports whether a request that failed so may succeed later.
func transient(err error) bool {
	if s := (*statusError)(nil); errors.As(err, &s) {
		return s.code == http.StatusTooManyRequests || s.code == http.StatusRequestTimeout || s.code >= 500
	}
	if disk := (*fs.PathError)(nil); errors.As(err, &disk) { // whose errno is a net.Error as well
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, errStalled) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// errStalled is the cause of a request's end when nothing comes any more.
var errStalled = errors.New("the server has fallen silent")

func (c *Client) wait() time.Duration { return cmp.Or(c.patience, 30*time.Second) }

// httpClient follows redirects; a token goes to no other host.
var httpClient = &http.Client{CheckRedirect: redirect, Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	TLSHandshakeTimeout:   10 * time.Second,
	ResponseHeaderTimeout: 30 * time.Second,
	MaxIdleConnsPerHost:   workers,
	ForceAttemptHTTP2:     true,
}}

// redirect keeps a token from what net/http takes for the same host: its subdomains, other
// ports, and itself without TLS.
func redirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Host != first.Host || first.Scheme == "https" && r.URL.Scheme != "https" {
		r.Header.Del("Authorization")
	}
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	return nil
}

// origin is where the files of one name come from.
type origin interface {
	// list returns what the revision stands at, a name of 40 hexadecimal digits, and
	// its files.
	list(ctx context.Context) (sha string, files map[string]file, err error)
	// open reads a file of a list from a byte on.
	open(ctx context.Context, sha, name string, f file, from int64) (*content, error)
}

// content is a file on its way.
type content struct {
	io.ReadCloser
	begin  int64 // the byte that was asked for, or 0 where the other side can only send all
	opaque bool  // the file's Tag is no hash of its bytes, whatever its form
}

func (c *Client) origin(n Name) (origin, error) {
	switch {
	case n.URL == "":
		return &hubOrigin{c, n}, nil
	case strings.HasPrefix(n.URL, "http"):
		return webOrigin(n.URL), nil
	}
	return c.bucket(n)
}

// get asks for what is at an address, from a byte on; prepare may be nil. The
// reply is 200 or 206, and begin the byte that it begins with: from, or 0.
func get(ctx context.Context, method, url string, from int64,
	prepare func(*http.Request)) (reply *http.Response, begin int64, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("User-Agent", "warm")
	r.Header.Set("Accept-Encoding", "identity") // lengths and ranges are of the file itself
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	if prepare != nil {
		prepare(r)
	}
	if reply, err = httpClient.Do(r); err != nil {
		return nil, 0, err
	}
	switch reply.StatusCode {
	case http.StatusOK:
		return reply, 0, nil
	case http.StatusPartialContent:
		if from > 0 && rangeBegin(reply.Header) == from {
			return reply, from, nil
		}
	}
	reply.Body.Close()
	s := &statusError{url: r.URL.Redacted(), status: reply.Status, code: reply.StatusCode,
		said: reply.Header.Get("X-Error-Message"), kind: reply.Header.Get("X-Error-Code")}
	return nil, 0, s.sorted()
}

// rangeBegin returns the byte that a part begins with, -1 when it does not say.
func rangeBegin(h http.Header) int64 {
	rest, ok := strings.CutPrefix(h.Get("Content-Range"), "bytes ")
	first, _, _ := strings.Cut(rest, "-")
	if begin, err := strconv.ParseInt(first, 10, 64); ok && err == nil {
		return begin
	}
	return -1
}

// file is one file of a commit.
type file struct {
	Size   int64  `json:"size"`
	BlobID string `json:"blob_id"`              // git's SHA-1
	SHA256 string `json:"lfs_sha256,omitempty"` // of a large file; "" of a small one
	LFS    int64  `json:"lfs_size,omitempty"`

	// Tag is what a store or a web server names a version of the file by, in place
	// of a hash. It is a hash of the contents where it has an MD5's form.
	Tag string `json:"tag,omitempty"`
}

// hash names the file in the cache; it is verified by it unless it has a Tag.
func (f file) hash() string {
	switch {
	case f.Tag != "":
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", f.Size, f.Tag))
		return hex.EncodeToString(sum[:])
	case f.SHA256 != "":
		return f.SHA256
	}
	return f.BlobID
}

// identity names a list of files that has no commit.
func identity(files map[string]file) string {
	sum := sha1.New() //nolint:gosec // it need not withstand anyone
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%q %s\n", name, files[name].hash())
	}
	return hex.EncodeToString(sum.Sum(nil))
}
