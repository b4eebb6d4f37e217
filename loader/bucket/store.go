package bucket

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// Stores are the addresses of the stores of s3:// and gs://; "" for Amazon's and Google's.
type Stores struct{ S3, GS string }

const (
	amazon     = "https://s3.amazonaws.com"
	googleapis = "https://storage.googleapis.com"
)

// Scopes of Google's tokens.
const (
	readOnly  = "https://www.googleapis.com/auth/devstorage.read_only"
	readWrite = "https://www.googleapis.com/auth/devstorage.read_write"
)

// FromEnv returns the stores that the environment of the stores' tools names:
// AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, and STORAGE_EMULATOR_HOST.
func FromEnv(getenv func(string) string) Stores {
	return Stores{S3: cmp.Or(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL")),
		GS: getenv("STORAGE_EMULATOR_HOST")}
}

// Is reports whether a reference is the address of a bucket.
func Is(ref string) bool {
	return strings.HasPrefix(ref, "s3://") || strings.HasPrefix(ref, "gs://")
}

var unplain = regexp.MustCompile(`[^A-Za-z0-9]+`)

// FolderName is a name on this disk for what is at an address, which no other address has.
func FolderName(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	plain := unplain.ReplaceAllString(ref, "-")
	return plain[:min(len(plain), 100)] + "--" + hex.EncodeToString(sum[:8])
}

// Reader returns a client for the store of a scheme, s3 or gs, that only reads, over a transport.
func (s Stores) Reader(scheme string, over http.RoundTripper) (*minio.Client, error) {
	return s.client(scheme, readOnly, over, nil, 1)
}

// client returns a client; wrap, which may be nil, is put around what carries its requests.
func (s Stores) client(scheme, scope string, over http.RoundTripper,
	wrap func(http.RoundTripper) http.RoundTripper, tries int) (*minio.Client, error) {
	endpoint, options := s.S3, minio.Options{MaxRetries: tries}
	carrier := over
	if scheme == "gs" {
		endpoint = s.GS
		if endpoint == "" {
			endpoint = googleapis
			token, err := google.DefaultTokenSource(context.Background(), scope)
			if err == nil { // else what is public
				carrier = &oauth2.Transport{Source: token, Base: over}
			}
		}
		options.Creds = credentials.NewStaticV4("", "", "")
		options.Region = "auto"
	} else {
		endpoint = cmp.Or(endpoint, amazon)
		options.Creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Transport: over, Timeout: 3 * time.Second}},
		})
	}
	if wrap != nil {
		carrier = wrap(carrier)
	}
	options.Transport = carrier
	e, err := url.Parse(endpoint)
	if err != nil || e.Host == "" {
		return nil, fmt.Errorf("%q is no address of a store: want https://host", endpoint)
	}
	options.Secure = e.Scheme == "https"
	return minio.New(e.Host, &options)
}

// transport is what carries the requests of folders.
var transport http.RoundTripper = &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	TLSHandshakeTimeout:   10 * time.Second,
	ResponseHeaderTimeout: time.Minute, // a store may think before it answers a large object
	MaxIdleConnsPerHost:   8,
	IdleConnTimeout:       90 * time.Second,
	ForceAttemptHTTP2:     true,
}

// clocked notes the store's own time, by which the age of objects is told: machines'
// clocks may differ.
type clocked struct {
	base  http.RoundTripper
	ahead atomic.Int64 // nanoseconds of the store's clock before this machine's
}

func (c *clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := c.base.RoundTrip(r)
	if err == nil {
		if date, bad := http.ParseTime(reply.Header.Get("Date")); bad == nil {
			c.ahead.Store(int64(time.Until(date)))
		}
	}
	return reply, err
}

func (c *clocked) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// generations says conditions as Google Cloud Storage wants them, by an object's generation, which
// is then its tag.
type generations struct{ base http.RoundTripper }

func (g generations) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for header, googles := range map[string]string{"If-Match": "X-Goog-If-Generation-Match",
		"If-None-Match": "X-Goog-If-Generation-Not-Match"} {
		v := strings.Trim(r.Header.Get(header), `"`)
		if v == "" {
			continue
		}
		r.Header.Del(header)
		if v == "*" { // nothing is there: the generation 0
			googles, v = "X-Goog-If-Generation-Match", "0"
		}
		r.Header.Set(googles, v)
	}
	reply, err := g.base.RoundTrip(r)
	if err == nil {
		if v := reply.Header.Get("X-Goog-Generation"); v != "" {
			reply.Header.Set("ETag", `"`+v+`"`)
		}
	}
	return reply, err
}
