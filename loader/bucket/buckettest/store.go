// Package buckettest is a store of buckets on loopback: the part of S3's protocol by
// which objects are read and written, with Google Cloud Storage's conditions, and
// whatever goes wrong there.
package buckettest

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // as stores name their objects
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Store holds objects by "bucket/key".
type Store struct {
	*httptest.Server
	// Parted and Encrypted have objects be tagged as those are that were written in parts, or
	// are encrypted with a key of their own: by no hash, or by what only looks like one.
	// Cut is how many replies break off after half of an object of more than a megabyte. They
	// are set while nothing is asked.
	Parted, Encrypted bool
	Cut               int

	mu         sync.Mutex
	fault      func(w http.ResponseWriter, r *http.Request) bool
	later      time.Duration // of the store's clock
	objects    map[string]object
	parts      map[string]map[int][]byte // of uploads under way
	generation int64
	requests   []string
}

type object struct {
	data       []byte
	modified   time.Time
	generation int64
}

// New starts a store that ends with the test.
func New(t testing.TB) *Store {
	s := &Store{objects: map[string]object{}, parts: map[string]map[int][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// Env is the environment in which programs find the store.
func (s *Store) Env() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL_S3": s.URL, "STORAGE_EMULATOR_HOST": s.URL, "AWS_ACCESS_KEY_ID": "key",
		"AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
}

// Break lets a fault see each request first, and answer it where it returns true; nil
// mends the store.
func (s *Store) Break(fault func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Later lets time pass by the store's clock.
func (s *Store) Later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.later += d
}

// Put writes an object; nil removes it.
func (s *Store) Put(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.objects, key)
		return
	}
	s.put(key, data)
}

func (s *Store) put(key string, data []byte) object {
	s.generation++
	o := object{data, time.Now().Add(s.later), s.generation}
	s.objects[key] = o
	return o
}

// Objects returns the contents by "bucket/key".
func (s *Store) Objects() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]byte{}
	for key, o := range s.objects {
		out[key] = o.data
	}
	return out
}

// Requests returns method, path and range, where there is one, of each request since the last call.
func (s *Store) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

func (s *Store) tag(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see the import
	if s.Encrypted {
		sum = md5.Sum(sum[:]) //nolint:gosec // see the import
	}
	if s.Parted {
		return fmt.Sprintf(`"%x-2"`, sum)
	}
	return fmt.Sprintf(`"%x"`, sum)
}

// refuse answers with an error in S3's form.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Error><Code>%s</Code><Message>the test's store says %s</Message></Error>`, code, code)
}

func (s *Store) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	fault := s.fault
	w.Header().Set("Date", time.Now().Add(s.later).UTC().Format(http.TimeFormat))
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	var body []byte
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return // whoever sent it has gone: nothing is written
		}
		sum := md5.Sum(body) //nolint:gosec // see the import
		if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
			refuse(w, http.StatusBadRequest, "BadDigest")
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, query := strings.TrimPrefix(r.URL.Path, "/"), r.URL.Query()
	bucket, name, _ := strings.Cut(key, "/")
	switch {
	case query.Has("location"):
		fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	case name == "":
		s.list(w, bucket, query.Get("prefix"))
	case query.Has("uploads"), query.Has("uploadId"):
		s.multipart(w, r, key, body)
	case r.Method == http.MethodPut:
		if !s.holds(r, key) {
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
		s.answer(w, s.put(key, body))
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.content(w, r, key)
	}
}

// answer tells of a version.
func (s *Store) answer(w http.ResponseWriter, o object) {
	w.Header().Set("ETag", s.tag(o.data))
	if s.Encrypted {
		w.Header().Set("X-Amz-Server-Side-Encryption", "aws:kms")
	}
	w.Header().Set("X-Goog-Generation", fmt.Sprint(o.generation))
}

// holds reports whether what a write asks of the object that is there is so.
func (s *Store) holds(r *http.Request, key string) bool {
	o, there := s.objects[key]
	if want := r.Header.Get("X-Goog-If-Generation-Match"); want != "" && want != fmt.Sprint(o.generation) {
		return false
	}
	if want := r.Header.Get("If-Match"); want != "" && (!there || want != s.tag(o.data)) {
		return false
	}
	return r.Header.Get("If-None-Match") != "*" || !there
}

// content answers GET and HEAD of an object.
func (s *Store) content(w http.ResponseWriter, r *http.Request, key string) {
	o, there := s.objects[key]
	if !there {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	s.answer(w, o)
	if not := r.Header.Get("X-Goog-If-Generation-Not-Match"); not == fmt.Sprint(o.generation) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if want := r.Header.Get("If-Match"); want != "" && strings.Trim(want, `"`) != strings.Trim(s.tag(o.data), `"`) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	r.Header.Del("If-Match") // its quotes are not always sent
	if len(o.data) > 1<<20 && s.Cut > 0 {
		s.Cut--
		w.Header().Set("Content-Length", fmt.Sprint(len(o.data)))
		w.Header().Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
		_, _ = w.Write(o.data[:len(o.data)/2]) // and then the connection breaks
		return
	}
	http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.data))
}

// multipart begins an upload in parts, takes one, or completes it.
func (s *Store) multipart(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	id := r.URL.Query().Get("uploadId")
	switch {
	case r.Method == http.MethodPost && id == "":
		id = fmt.Sprint(len(s.parts) + 1)
		s.parts[id] = map[int][]byte{}
		fmt.Fprintf(w, `<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, id)
	case r.Method == http.MethodPut:
		n, _ := strconv.Atoi(r.URL.Query().Get("partNumber")) // 0 is none
		s.parts[id][n] = body
		w.Header().Set("ETag", s.tag(body))
	case r.Method == http.MethodPost:
		var all []byte
		for _, n := range slices.Sorted(maps.Keys(s.parts[id])) {
			all = append(all, s.parts[id][n]...)
		}
		o := s.put(key, all)
		s.answer(w, o)
		fmt.Fprintf(w, `<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>bucket</Bucket><ETag>%s-2</ETag></CompleteMultipartUploadResult>`, strings.Trim(s.tag(all), `"`))
	default:
		delete(s.parts, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Store) list(w http.ResponseWriter, bucket, prefix string) {
	type entry struct {
		Key, ETag, LastModified string
		Size                    int
	}
	out := struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Name     string
		KeyCount int
		Contents []entry
	}{Name: bucket}
	for key, o := range s.objects {
		name, ok := strings.CutPrefix(key, bucket+"/")
		if ok && strings.HasPrefix(name, prefix) {
			out.Contents = append(out.Contents, entry{name, s.tag(o.data), o.modified.UTC().Format(time.RFC3339), len(o.data)})
		}
	}
	slices.SortFunc(out.Contents, func(a, b entry) int { return cmp.Compare(a.Key, b.Key) })
	out.KeyCount = len(out.Contents)
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out) // a client that hangs up is its own affair
}
