// Package hubtest is a hub on loopback: the part of the Hugging Face hub's
// protocol by which models are downloaded, with whatever goes wrong there.
package hubtest

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's name of a file
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Hub is a hub with repositories that a test fills.
type Hub struct {
	*httptest.Server
	// Private repositories open with this token alone.
	Private map[string]string

	mu       sync.Mutex
	fault    func(w http.ResponseWriter, r *http.Request) bool
	repos    map[string]*repo
	requests []string
}

type repo struct {
	refs    map[string]string            // of branches and tags
	commits map[string]map[string][]byte // files by commit
}

// LargeFrom is the size from which files are kept apart, as with git-lfs.
const LargeFrom = 1024

// New starts a hub that ends with the test.
func New(t testing.TB) *Hub {
	h := &Hub{repos: map[string]*repo{}, Private: map[string]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Server.Close)
	return h
}

// Break lets a fault see each request first, and answer it where it returns true;
// nil mends the hub.
func (h *Hub) Break(fault func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = fault
}

// Push makes a commit of files and moves a branch to it.
func (h *Hub) Push(id, branch string, files map[string][]byte) (commit string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := sha1.New() //nolint:gosec // see the import
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(files[name]))
	}
	commit = hex.EncodeToString(sum.Sum(nil))
	r := h.repos[id]
	if r == nil {
		r = &repo{map[string]string{}, map[string]map[string][]byte{}}
		h.repos[id] = r
	}
	r.refs[branch], r.commits[commit] = commit, files
	return commit
}

// PushDir pushes the files of a directory.
func (h *Hub) PushDir(t testing.TB, id, branch, dir string) (commit string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, e := range entries {
		if !e.IsDir() {
			files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
		}
	}
	return h.Push(id, branch, files)
}

// Requests returns the method and path of each request since the last call.
func (h *Hub) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.requests
	h.requests = nil
	return out
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Method+" "+r.URL.Path)
	fault := h.fault
	h.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case len(path) == 2 && path[0] == "cdn":
		h.content(w, r, path[1])
	case len(path) >= 6 && path[0] == "api" && path[1] == "models":
		h.api(w, r, path[2]+"/"+path[3], path[4], strings.Join(path[5:], "/"))
	case len(path) >= 5 && path[2] == "resolve":
		h.resolve(w, r, path[0]+"/"+path[1], path[3], strings.Join(path[4:], "/"))
	default:
		refuse(w, http.StatusNotFound, "RepoNotFound")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", "the test's hub says "+code)
	w.WriteHeader(status)
}

// find returns the files of a revision.
func (h *Hub) find(w http.ResponseWriter, r *http.Request, id, revision string) (string, map[string][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rp := h.repos[id]
	if token, private := h.Private[id]; rp == nil || private &&
		r.Header.Get("Authorization") != "Bearer "+token {
		refuse(w, http.StatusUnauthorized, "") // as the hub: who may not see it cannot tell
		return "", nil
	}
	if sha, ok := rp.refs[revision]; ok {
		revision = sha
	}
	if rp.commits[revision] == nil {
		refuse(w, http.StatusNotFound, "RevisionNotFound")
		return "", nil
	}
	return revision, rp.commits[revision]
}

func blobID(data []byte) string {
	sum := sha1.New() //nolint:gosec // see the import
	fmt.Fprintf(sum, "blob %d\x00", len(data))
	sum.Write(data)
	return hex.EncodeToString(sum.Sum(nil))
}

func (h *Hub) api(w http.ResponseWriter, r *http.Request, id, what, revision string) {
	sha, files := h.find(w, r, id, revision)
	if files == nil {
		return
	}
	type lfs struct {
		OID         string `json:"oid,omitempty"`
		SHA256      string `json:"sha256,omitempty"`
		Size        int    `json:"size"`
		PointerSize int    `json:"pointerSize"` // of what git has in its place
	}
	type entry map[string]any
	var list []entry
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		e := entry{}
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		if what == "tree" {
			e["type"], e["path"], e["oid"], e["size"] = "file", name, blobID(data), len(data)
			if len(data) >= LargeFrom {
				e["lfs"] = lfs{OID: sum, Size: len(data), PointerSize: 134}
			}
		} else if e["rfilename"] = name; r.URL.Query().Get("blobs") == "true" {
			e["blobId"], e["size"] = blobID(data), len(data)
			if len(data) >= LargeFrom {
				e["lfs"] = lfs{SHA256: sum, Size: len(data), PointerSize: 134}
			}
		}
		list = append(list, e)
	}
	w.Header().Set("Content-Type", "application/json")
	if what == "tree" {
		_ = json.NewEncoder(w).Encode(list) // a client that hangs up is its own affair
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "modelId": id, "sha": sha,
		"siblings": list, "private": false, "tags": []string{}, "downloads": 0, "likes": 0})
}

func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, id, revision, name string) {
	sha, files := h.find(w, r, id, revision)
	if files == nil {
		return
	}
	w.Header().Set("X-Repo-Commit", sha)
	data, ok := files[name]
	if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound")
		return
	}
	if len(data) < LargeFrom {
		w.Header().Set("ETag", `"`+blobID(data)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	w.Header().Set("X-Linked-Etag", `"`+sum+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	// As on the hub, another host has the large files.
	http.Redirect(w, r, strings.Replace(h.URL, "127.0.0.1", "localhost", 1)+"/cdn/"+sum, http.StatusFound)
}

// content is a large file, as its storage serves it.
func (h *Hub) content(w http.ResponseWriter, r *http.Request, sum string) {
	h.mu.Lock()
	var data []byte
	for _, rp := range h.repos {
		for _, files := range rp.commits {
			for _, d := range files {
				if fmt.Sprintf("%x", sha256.Sum256(d)) == sum {
					data = d
				}
			}
		}
	}
	h.mu.Unlock()
	if data == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}
