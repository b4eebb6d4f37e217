package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/memory"
	"github.com/warmserve/warmserve/server/score"
)

// bodies reads requests' bodies, each after it has reserved the memory for it.
// It keeps no buffers: what a large request needed is free with its end.
type bodies struct {
	max     int64 // bytes, before and after decompression
	timeout time.Duration
	room    *memory.Room
	gzips   sync.Pool // of *gzip.Reader
	zstd    *zstd.Decoder
}

// maxWindow bounds the window that a zstd stream may ask for: the format's
// recommendation for decoders, and what every level up to 19 stays within.
const maxWindow = 8 << 20

// firstBuffer is the room for a body of unknown length at first.
const firstBuffer = 16 << 10

func newBodies(max int64, timeout time.Duration, room *memory.Room) (*bodies, error) {
	// Whole frames are decoded at once into the body's own memory, which has
	// been reserved: that needs no window, and goes no further than it has room.
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &bodies{max: max, timeout: timeout, room: room, zstd: z}, nil
}

// read returns the decompressed body of the request of l. It reserves what the
// request may come to hold, in l.Hold, and waits for that until ctx ends.
func (b *bodies) read(ctx context.Context, l *requestLog, r *http.Request) ([]byte, error) {
	if err := checkContentType(r.Header.Get("Content-Type"), l.media); err != nil {
		return nil, err
	}
	if r.ContentLength > b.max {
		return nil, tooLarge(b.max)
	}
	encoding, err := encodingOf(r.Header.Values("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	sent, cost := r.ContentLength, score.RequestCost
	if encoding != "" {
		cost = func(n int64) int64 { return score.FixedCost + n }
	}
	if sent < 0 {
		sent = firstBuffer
	}
	if l.Hold, err = b.room.Reserve(ctx, cost(sent)); err != nil {
		return nil, err
	}
	b.limit(l.raw, r) // the wait was not the client's
	body, err := b.fill(ctx, l.Hold, http.MaxBytesReader(l.raw, r.Body, b.max), sent, cost)
	if err != nil {
		return nil, b.receiveError(err)
	}
	// Whoever waits in the queue now may wait for longer than a body may take.
	_ = http.NewResponseController(l.raw).SetReadDeadline(time.Time{})
	if encoding != "" {
		if body, err = b.decompress(ctx, l.Hold, encoding, body); err != nil {
			return nil, decompressError(err, b.max)
		}
	}
	l.Text = score.RequestCost(int64(len(body))) + api.DecodedSize(body)
	return body, l.Hold.Resize(ctx, l.Text)
}

// fill reads r to its end into memory of size bytes, and into twice as much
// whenever that was not enough, each time after it has reserved the cost of it.
func (b *bodies) fill(
	ctx context.Context, h *memory.Hold, r io.Reader, size int64, cost func(int64) int64,
) ([]byte, error) {
	buf := make([]byte, 0, size)
	var beyond [1]byte
	for {
		into := buf[len(buf):cap(buf)]
		if len(into) == 0 {
			into = beyond[:]
		}
		n, err := r.Read(into)
		if len(buf) < cap(buf) {
			buf, n = buf[:len(buf)+n], 0
		}
		if n > 0 {
			if int64(len(buf)) >= b.max {
				return nil, tooLarge(b.max)
			}
			size = min(max(2*size, firstBuffer), b.max)
			if err := h.Resize(ctx, cost(size)); err != nil {
				return nil, err
			}
			buf = append(append(make([]byte, 0, size), buf...), beyond[0])
		}
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// decompress returns what was compressed to sent.
func (b *bodies) decompress(ctx context.Context, h *memory.Hold, encoding string,
	sent []byte) ([]byte, error) {
	cost := func(n int64) int64 { return score.RequestCost(n) + int64(len(sent)) }
	size := min(announced(encoding, sent), b.max) // the decoder finds out what is over it
	if err := h.Resize(ctx, cost(size)); err != nil {
		return nil, err
	}
	if encoding == "gzip" {
		z, _ := b.gzips.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		defer func() {
			_ = z.Reset(bytes.NewReader(nil)) // it would keep what was sent; its error is that nothing is no gzip
			b.gzips.Put(z)
		}()
		if err := z.Reset(bytes.NewReader(sent)); err != nil {
			return nil, err
		}
		return b.fill(ctx, h, z, size, cost)
	}
	for {
		out, err := b.zstd.DecodeAll(sent, make([]byte, 0, size))
		if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return out, err
		}
		if size == b.max {
			return nil, tooLarge(b.max)
		}
		size = min(max(4*size, firstBuffer), b.max)
		if err := h.Resize(ctx, cost(size)); err != nil {
			return nil, err
		}
	}
}

// announced returns how long a compressed body says that it is, and a guess
// where it does not. A body need not keep its word.
func announced(encoding string, sent []byte) int64 {
	if encoding == "gzip" {
		if len(sent) < 18 { // the head and the tail of the format
			return 0
		}
		return int64(binary.LittleEndian.Uint32(sent[len(sent)-4:]))
	}
	var h zstd.Header
	if h.Decode(sent) == nil && h.HasFCS {
		return int64(min(h.FrameContentSize, 1<<62))
	}
	return 4 * int64(len(sent))
}

// receiveError says what went wrong in receiving a body.
func (b *bodies) receiveError(err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || isMemory(err) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return api.Errorf(api.CodeRequestTimeout, "", "the body did not arrive within %v", b.timeout)
	}
	return errClientGone
}

// decompressError says what went wrong in decompressing a body.
func decompressError(err error, limit int64) error {
	if _, ok := errors.AsType[*api.Error](err); ok || isMemory(err) {
		return err
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return tooLarge(limit)
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

// checkContentType lets JSON pass, what else the route takes, and a body of no
// stated type.
func checkContentType(header string, others []string) error {
	if header == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	switch {
	case err == nil && slices.Contains(others, kind):
		return nil
	case err == nil && kind == "application/x-www-form-urlencoded":
		return api.Errorf(api.CodeUnsupportedMediaType, "Content-Type",
			"the body is declared as a form, as curl -d does: add the header Content-Type: application/json "+
				"(curl -H 'Content-Type: application/json', or curl --json)")
	case err != nil || kind != "application/json":
		return api.Errorf(api.CodeUnsupportedMediaType, "Content-Type",
			"want the header Content-Type: application/json")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return api.Errorf(api.CodeUnsupportedMediaType, "Content-Type", "want the charset utf-8")
	}
	return nil
}

// encodingOf returns "gzip", "zstd" or, for none, "".
func encodingOf(headers []string) (string, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(headers, ","))); encoding {
	case "", "identity":
		return "", nil
	case "gzip", "x-gzip":
		return "gzip", nil
	case "zstd":
		return "zstd", nil
	}
	return "", api.Errorf(api.CodeUnsupportedEncoding, "Content-Encoding",
		"want gzip, zstd or identity, and one of them")
}
