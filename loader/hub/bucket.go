package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/warmserve/warmserve/loader/bucket"
)

// bucketOrigin is a folder in a bucket of S3, of a store that speaks its
// protocol, or of Google Cloud Storage, which does.
type bucketOrigin struct {
	store          *minio.Client
	bucket, folder string // the folder with a slash at its end, or ""
}

// bucket returns the origin of an address of a bucket.
func (c *Client) bucket(n Name) (origin, error) {
	u, err := url.Parse(n.URL)
	if err != nil {
		return nil, err
	}
	o := &bucketOrigin{bucket: u.Host, folder: strings.TrimPrefix(u.Path, "/")}
	if o.folder != "" {
		o.folder += "/"
	}
	o.store, err = bucket.Stores{S3: c.S3, GS: c.GS}.Reader(u.Scheme, httpClient.Transport)
	if err != nil {
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
	if r.StatusCode == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: %w", errAnew, s)
	}
	return s.sorted()
}

// md5Of reports whether a store's tag is the MD5 of the contents, as it is of
// what was not written in parts.
func md5Of(tag string) bool {
	sum, err := hex.DecodeString(tag)
	return err == nil && len(sum) == 16
}
