package hub

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// bucketOrigin is a folder in a bucket of S3, of a store that speaks its
// protocol, or of Google Cloud Storage, which does.
type bucketOrigin struct {
	store          *minio.Client
	bucket, folder string // the folder with a slash at its end, or ""
}

// The stores that buckets are of where nothing else is said.
const (
	amazon     = "https://s3.amazonaws.com"
	googleapis = "https://storage.googleapis.com"
)

// bucket returns the origin of an address of a bucket. Who asks is found as the
// stores' own tools find it: in the environment, in their files, or from the
// machine; without any, what is public can be had.
func (c *Client) bucket(n Name) (origin, error) {
	u, err := url.Parse(n.URL)
	if err != nil {
		return nil, err
	}
	o := &bucketOrigin{bucket: u.Host, folder: strings.TrimPrefix(u.Path, "/")}
	if o.folder != "" {
		o.folder += "/"
	}
	endpoint := c.S3
	options := minio.Options{Transport: httpClient.Transport, MaxRetries: 1}
	if u.Scheme == "gs" {
		endpoint = c.GS
		if endpoint == "" {
			endpoint = googleapis
			token, err := google.DefaultTokenSource(context.Background(),
				"https://www.googleapis.com/auth/devstorage.read_only")
			if err == nil { // else what is public
				options.Transport = &oauth2.Transport{Source: token, Base: httpClient.Transport}
			}
		}
		options.Creds = credentials.NewStaticV4("", "", "")
		options.Region = "auto"
	} else {
		endpoint = cmp.Or(endpoint, amazon)
		options.Creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Transport: httpClient.Transport,
				Timeout: 3 * time.Second}},
		})
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Host == "" {
		return nil, fmt.Errorf("%q is no address of a store: want https://host", endpoint)
	}
	options.Secure = e.Scheme == "https"
	if o.store, err = minio.New(e.Host, &options); err != nil {
		return nil, fmt.Errorf("%s: %w", n.URL, err)
	}
	return o, nil
}

// maxObjects bounds the list of a folder.
const maxObjects = 10_000

// list implements origin. Of folders in the folder, a sentence encoder's pooling counts.
func (o *bucketOrigin) list(ctx context.Context) (string, map[string]file, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	files := map[string]file{}
	for object := range o.store.ListObjects(ctx, o.bucket,
		minio.ListObjectsOptions{Prefix: o.folder, Recursive: true, MaxKeys: 1000}) {
		if object.Err != nil {
			return "", nil, o.say(object.Err)
		}
		name := strings.TrimPrefix(object.Key, o.folder)
		files[name] = file{Size: object.Size, Tag: strings.Trim(object.ETag, `"`)}
		if files[name].Tag == "" {
			return "", nil, fmt.Errorf("%s names no version of %s", o.store.EndpointURL(), object.Key)
		}
		if len(files) > maxObjects {
			return "", nil, fmt.Errorf("%s/%s has more than %d files: name the folder of one checkpoint", o.bucket, o.folder, maxObjects)
		}
	}
	if len(files) == 0 {
		return "", nil, fmt.Errorf("%w: %s/%s has no files", ErrNotFound, o.bucket, o.folder)
	}
	return identity(files), files, nil
}

// open implements origin.
func (o *bucketOrigin) open(ctx context.Context, _, name string, f file, from int64) (*content, error) {
	var opts minio.GetObjectOptions
	err := opts.SetMatchETag(f.Tag)
	if err == nil && from > 0 {
		err = opts.SetRange(from, 0) // to the end
	}
	if err != nil {
		return nil, err
	}
	// The core client asks once, for the reader that it returns.
	body, _, header, err := (&minio.Core{Client: o.store}).GetObject(ctx, o.bucket, o.folder+name, opts)
	if err != nil {
		return nil, o.say(err)
	}
	got := &content{ReadCloser: body, opaque: sealed(header)}
	if header.Get("Content-Range") != "" {
		if got.begin = rangeBegin(header); got.begin != from {
			return nil, errors.Join(fmt.Errorf("%s sends another part than the one from byte %d", o.store.EndpointURL(), from),
				body.Close())
		}
	}
	return got, nil
}

// sealed reports whether an object is encrypted with a key that is not the store's own: then its
// tag has an MD5's form and is none.
func sealed(h http.Header) bool {
	return strings.HasPrefix(h.Get("X-Amz-Server-Side-Encryption"), "aws:kms") ||
		h.Get("X-Goog-Encryption-Kms-Key-Name") != ""
}

// say gives an error of a store the form of the others.
func (o *bucketOrigin) say(err error) error {
	r := minio.ToErrorResponse(err)
	if r.StatusCode == 0 {
		return err
	}
	s := &statusError{url: o.store.EndpointURL().String() + "/" + o.bucket + "/" + o.folder,
		status: fmt.Sprint(r.StatusCode), said: r.Code + ": " + r.Message, code: r.StatusCode}
	switch {
	case r.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, s)
	case r.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", errAnew, s)
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: %w", ErrDenied, s)
	}
	return s
}

// md5Of reports whether a store's tag is the MD5 of the contents, as it is of
// what was not written in parts.
func md5Of(tag string) bool {
	sum, err := hex.DecodeString(tag)
	return err == nil && len(sum) == 16
}
