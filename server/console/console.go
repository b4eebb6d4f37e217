package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Policy is the Content-Security-Policy of the page: this server alone, and no
// script, style or form that is not one of its files.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

//go:embed static
var static embed.FS

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// File is a file of the console, an http.Handler of GET and HEAD.
type File struct {
	kind   string // its Content-Type
	tag    string // its ETag, of the plain bytes
	plain  []byte
	packed func() []byte // gzip, made when it is first asked for
}

// Find returns the file that answers a path: the page at / and /docs, and what it
// loads below /console/.
func Find(urlPath string) (*File, bool) {
	name := "index.html"
	if urlPath != "/" && urlPath != "/docs" {
		var ok bool
		if name, ok = strings.CutPrefix(urlPath, "/console/"); !ok {
			return nil, false
		}
	}
	f, ok := files()[name]
	return f, ok
}

// files is all files, by name.
var files = sync.OnceValue(func() map[string]*File {
	all := map[string]*File{}
	entries, err := static.ReadDir("static")
	if err != nil {
		panic(err) // the files are part of the program
	}
	for _, e := range entries {
		data, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		all[e.Name()] = &File{kind: types[path.Ext(e.Name())], tag: `"` +
			hex.EncodeToString(sum[:8]) + `"`, plain: data,
			packed: sync.OnceValue(func() []byte { return pack(data) })}
	}
	return all
})

func pack(data []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // fails for levels that do not exist
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

// ServeHTTP sends the file, packed for who takes that, or 304 to who has it.
func (f *File) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // asked for again, and answered by 304: a page never meets scripts of another build
	h.Add("Vary", "Accept, Accept-Encoding")
	h.Set("ETag", f.tag)
	if strings.Contains(r.Header.Get("If-None-Match"), f.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.packed()
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // an error means that the reader has gone
}
