package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/warmserve/warmserve/loader/bucket"
)

// File is a small file in a bucket or on a web server that is read again and again. It is
// not safe for concurrent use.
type File struct {
	c      *Client
	ref    string
	folder *bucket.Folder // nil on a web server
	tag    string         // of what was read last
}

// File returns the file at an address: s3://bucket/file, gs://bucket/file or https://host/file.
func (c *Client) File(ref string) (*File, error) {
	n, ok := ParseName(ref)
	if !ok || n.URL == "" || strings.HasSuffix(ref, "/") || path.Base(n.URL) == n.URL {
		return nil, fmt.Errorf("%q is no address of a file: want s3://bucket/file, gs://bucket/file or https://host/file", ref)
	}
	f := &File{c: c, ref: ref}
	if !bucket.Is(ref) {
		return f, nil
	}
	var err error
	f.folder, err = bucket.Stores{S3: c.S3, GS: c.GS}.OpenToRead(strings.TrimSuffix(ref, "/"+path.Base(ref)))
	return f, err
}

// Read returns what the file holds, at most limit bytes. It returns nil when the file is the one that was
// read before, by its ETag, its generation or the time of its last change.
func (f *File) Read(ctx context.Context, limit int64) ([]byte, error) {
	if f.c.Offline {
		return nil, fmt.Errorf("%s: HF_HUB_OFFLINE is set: %w", f.ref, ErrOffline)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.c.wait(), errStalled)
	defer cancel()
	body, tag, err := f.open(ctx)
	if err != nil || body == nil {
		return nil, stalled(ctx, err)
	}
	defer body.Close() // read-only: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.ref, stalled(ctx, err))
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: over %d bytes", f.ref, limit)
	}
	f.tag = tag
	return data, nil
}

// open asks for the file; there is no body when it is as it was.
func (f *File) open(ctx context.Context) (body io.ReadCloser, tag string, err error) {
	if f.folder != nil {
		body, o, err := f.folder.Get(ctx, path.Base(f.ref), f.tag)
		if errors.Is(err, bucket.ErrSame) {
			return nil, "", nil
		}
		return body, o.Tag, err
	}
	reply, _, err := get(ctx, http.MethodGet, f.ref, 0, func(r *http.Request) {
		switch {
		case strings.HasSuffix(f.tag, `"`): // as every ETag does, and no time
			r.Header.Set("If-None-Match", f.tag)
		case f.tag != "":
			r.Header.Set("If-Modified-Since", f.tag)
		}
	})
	if s := (*statusError)(nil); errors.As(err, &s) && s.code == http.StatusNotModified {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	return reply.Body, version(reply), nil
}
