package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// Errors of a folder, wrapped with what the store said.
var (
	// ErrNotFound is returned for an object or a bucket that is not there.
	ErrNotFound = errors.New("not found")
	// ErrDenied is returned where the store wants to know who asks, or somebody else.
	ErrDenied = errors.New("access denied")
	// ErrChanged is returned for a conditional write of an object that is another by now.
	ErrChanged = errors.New("it was changed by somebody else")
	// ErrSame is returned for an object that is still the one with the given tag.
	ErrSame = errors.New("it is as it was")
	// ErrUnconditional is returned for a conditional write by a store that knows none.
	ErrUnconditional = errors.New("the store knows no conditional writes")
)

// Object is what a store says of an object.
type Object struct {
	Tag      string // of this version
	Size     int64
	Modified time.Time // by the store's clock
}

// Condition says when a write is carried out: always, where it is "", when no object is there
// ([Absent]), or when the object has this tag.
type Condition string

// Absent lets nothing be overwritten.
const Absent Condition = "*"

// Folder is a folder of a bucket. It is safe for concurrent use.
type Folder struct {
	ref            string // without a slash at its end
	store          *minio.Client
	clock          *clocked
	bucket, prefix string // the prefix with a slash at its end, or ""
}

// Open returns the folder at an address, s3://bucket/folder or gs://bucket/folder. Nothing is asked
// of the store.
func (s Stores) Open(ref string) (*Folder, error) { return s.open(ref, readWrite) }

// OpenToRead is Open for who writes nothing, and is not given the right to.
func (s Stores) OpenToRead(ref string) (*Folder, error) { return s.open(ref, readOnly) }

func (s Stores) open(ref, scope string) (*Folder, error) {
	u, err := url.Parse(ref)
	if err != nil || !Is(ref) || u.Host == "" || u.User != nil || strings.ContainsAny(ref, "?#") {
		return nil, fmt.Errorf("%q is no folder of a bucket: want s3://bucket/folder or gs://bucket/folder", ref)
	}
	f := &Folder{ref: strings.TrimRight(ref, "/"), bucket: u.Host, prefix: strings.Trim(u.Path, "/"),
		clock: &clocked{}}
	if f.prefix != "" {
		f.prefix += "/"
	}
	f.store, err = s.client(u.Scheme, scope, transport, func(base http.RoundTripper) http.RoundTripper {
		if u.Scheme == "gs" {
			base = generations{base}
		}
		f.clock.base = base
		return f.clock
	}, 5)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return f, nil
}

// String is the folder's address, without a slash at its end.
func (f *Folder) String() string { return f.ref }

// Get reads an object. Where unless is not "" and still its tag, the error is [ErrSame].
func (f *Folder) Get(ctx context.Context, name, unless string) (io.ReadCloser, Object, error) {
	var opts minio.GetObjectOptions
	if unless != "" {
		if err := opts.SetMatchETagExcept(unless); err != nil {
			return nil, Object{}, err
		}
	}
	body, info, _, err := (&minio.Core{Client: f.store}).GetObject(ctx, f.bucket, f.prefix+name, opts)
	if err != nil {
		return nil, Object{}, f.say(name, err)
	}
	return body, object(info), nil
}

// Stat tells of an object.
func (f *Folder) Stat(ctx context.Context, name string) (Object, error) {
	info, err := f.store.StatObject(ctx, f.bucket, f.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return Object{}, f.say(name, err)
	}
	return object(info), nil
}

func object(i minio.ObjectInfo) Object {
	return Object{Tag: i.ETag, Size: i.Size, Modified: i.LastModified}
}

// Put writes an object as a whole or not at all. A large one goes in parts, side by side
// where r is an [io.ReaderAt]; a conditional one in a single request.
func (f *Folder) Put(ctx context.Context, name string, r io.Reader, size int64, when Condition) (Object, error) {
	opts := minio.PutObjectOptions{SendContentMd5: true, DisableContentSha256: true,
		DisableMultipart: when != ""}
	switch when {
	case "":
	case Absent:
		opts.SetMatchETagExcept("*")
	default:
		opts.SetMatchETag(string(when))
	}
	info, err := f.store.PutObject(ctx, f.bucket, f.prefix+name, r, size, opts)
	if err != nil {
		return Object{}, f.say(name, err)
	}
	return Object{Tag: info.ETag, Size: size, Modified: info.LastModified}, nil
}

// Remove removes an object; that there is none is no error.
func (f *Folder) Remove(ctx context.Context, name string) error {
	err := f.store.RemoveObject(ctx, f.bucket, f.prefix+name, minio.RemoveObjectOptions{})
	if err = f.say(name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// List returns the names of the objects whose names begin with a prefix.
func (f *Folder) List(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	var names []string
	for o := range f.store.ListObjects(ctx, f.bucket, minio.ListObjectsOptions{Prefix: f.prefix + prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, f.say(prefix, o.Err)
		}
		names = append(names, strings.TrimPrefix(o.Key, f.prefix))
	}
	return names, nil
}

// Age is how long ago an object was written, by the store's clock alone.
func (f *Folder) Age(o Object) time.Duration { return f.clock.now().Sub(o.Modified) }

// say gives an error of a store the form of the others.
func (f *Folder) say(name string, err error) error {
	if err == nil {
		return nil
	}
	r := minio.ToErrorResponse(err)
	what := error(nil)
	switch {
	case r.StatusCode == http.StatusNotFound:
		what = ErrNotFound
	case r.StatusCode == http.StatusPreconditionFailed, r.Code == "ConditionalRequestConflict":
		what = ErrChanged
	case r.StatusCode == http.StatusNotModified:
		what = ErrSame
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		what = ErrDenied
	case r.StatusCode == http.StatusNotImplemented:
		what = ErrUnconditional
	}
	if r.StatusCode == 0 { // of the network: its own words
		return fmt.Errorf("%s/%s: %w", f.ref, name, err)
	}
	said := fmt.Errorf("%s/%s: %d %s: %s", f.ref, name, r.StatusCode, r.Code, r.Message)
	if what == nil {
		return said
	}
	return fmt.Errorf("%w: %w", what, said)
}
