package server

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/warmserve/warmserve/api"
)

// bodies reads requests' bodies and keeps what that takes for the next one.
type bodies struct {
	max     int64 // bytes, before and after decompression
	timeout time.Duration
	buffers sync.Pool // of *bytes.Buffer
	gzips   sync.Pool // of *gzip.Reader
	zstds   sync.Pool // of *zstd.Decoder
}

// maxWindow bounds the memory that a zstd stream may ask for: the format's
// recommendation for decoders, and what every level up to 19 stays within.
const maxWindow = 8 << 20

// maxKept bounds the buffers that are kept, so that one large request does not
// hold its memory for ever.
const maxKept = 1 << 20

// read returns the decompressed body of r, to be given to free once it is no
// longer needed. raw is the connection's own writer.
func (b *bodies) read(raw http.ResponseWriter, r *http.Request) (*bytes.Buffer, error) {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	if r.ContentLength > b.max {
		return nil, tooLarge(b.max)
	}
	source := &sourceReader{r: http.MaxBytesReader(raw, r.Body, b.max)}
	decoded, done, err := b.decoder(r.Header.Values("Content-Encoding"), source)
	if err == nil {
		buf := b.buffer()
		if _, err = buf.ReadFrom(io.LimitReader(decoded, b.max+1)); err == nil && int64(buf.Len()) > b.max {
			err = tooLarge(b.max)
		}
		done()
		if err == nil {
			// Whoever waits in the queue now may wait for longer than a body may take.
			_ = http.NewResponseController(raw).SetReadDeadline(time.Time{})
			return buf, nil
		}
		b.free(buf)
	}
	return nil, b.bodyError(err, source.err)
}

// bodyError says what went wrong in reading: err is the decoder's, source the
// connection's, and the decoder may have hidden the connection's in its own.
func (b *bodies) bodyError(err, source error) error {
	if source != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](source); ok {
			return source
		}
		if errors.Is(source, os.ErrDeadlineExceeded) {
			return api.Errorf(api.CodeRequestTimeout, "", "the body did not arrive within %v", b.timeout)
		}
		return errClientGone
	}
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return tooLarge(b.max)
	}
	return api.Errorf(api.CodeInvalidEncoding, "Content-Encoding", "the body does not decompress: %v", err)
}

func tooLarge(limit int64) *api.Error {
	return api.Errorf(api.CodeBodyTooLarge, "", "the body is over %d bytes", limit)
}

// limit starts the time in which the body of r must arrive. It stays on a
// request that is refused before its body was read, because net/http reads a
// body's rest before it sends the reply.
//
// http.Server.ReadTimeout is no substitute: it goes on after the body was
// read, and ends the context of a request that waits in the queue.
func (b *bodies) limit(raw http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(raw).SetReadDeadline(time.Now().Add(b.timeout))
	}
}

// checkContentType lets JSON pass, and a body of no stated type.
func checkContentType(header string) error {
	if header == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	switch {
	case err == nil && kind == "application/x-www-form-urlencoded":
		return api.Errorf(api.CodeUnsupportedMediaType, "Content-Type", "the body is declared as a form, as curl -d does: add the header Content-Type: application/json (curl -H 'Content-Type: application/json', or curl --json)")
	case err != nil || kind != "application/json":
		return api.Errorf(api.CodeUnsupportedMediaType, "Content-Type", "want the header Content-Type: application/json")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return api.Errorf(api.CodeUnsupportedMediaType, "Content-Type", "want the charset utf-8")
	}
	return nil
}

// decoder returns a reader of the decompressed body and what to call after it.
func (b *bodies) decoder(encodings []string, r io.Reader) (io.Reader, func(), error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(encodings, ","))); encoding {
	case "", "identity":
		return r, func() {}, nil
	case "gzip", "x-gzip":
		z, _ := b.gzips.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		if err := z.Reset(r); err != nil {
			b.gzips.Put(z)
			return nil, nil, err
		}
		return z, func() { b.gzips.Put(z) }, nil
	case "zstd":
		z, _ := b.zstds.Get().(*zstd.Decoder)
		if z == nil {
			var err error
			z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(b.max)+maxWindow))
			if err != nil {
				return nil, nil, err
			}
		}
		if err := z.Reset(r); err != nil {
			return nil, nil, err
		}
		return z, func() {
			if z.Reset(nil) == nil {
				b.zstds.Put(z)
			}
		}, nil
	}
	return nil, nil, api.Errorf(api.CodeUnsupportedEncoding, "Content-Encoding", "want gzip, zstd or identity, and one of them")
}

func (b *bodies) buffer() *bytes.Buffer {
	if buf, ok := b.buffers.Get().(*bytes.Buffer); ok {
		return buf
	}
	return new(bytes.Buffer)
}

// free takes a body's buffer back. What was decoded from it has its own memory.
func (b *bodies) free(buf *bytes.Buffer) {
	if buf.Cap() > maxKept {
		return
	}
	buf.Reset()
	b.buffers.Put(buf)
}

// sourceReader remembers the error of what it reads.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
