package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/plan"
)

// Kinds of frames. What a worker is asked is answered by done or failed under the same id, in the order
// in which it was asked. Stats are asked and answered on a socket of their own, whatever the worker does.
const (
	kindHello  = 1 + iota // from the worker, once: a hello
	kindLoad              // a load, with the files of the weights: memory is taken for them
	kindFill              // a fill: some of them are there to be taken to the card
	kindFinish            // a model's number, of which all are there; done has how long it took
	kindUnload            // a model's number
	kindScore             // see appendScore; done has the outputs
	kindStats             // done has Stats
	kindDone
	kindFailed // a failure
)

// headerBytes are the length of a frame's payload, its kind and its id.
const headerBytes = 16

// Bounds of payloads. Neither end believes more of the other.
const (
	maxControl = 16 << 20
	maxScore   = 1 << 30
)

// errProtocol is wrapped by the error for a frame that makes no sense.
var errProtocol = errors.New("the worker's answer makes no sense")

// header is the beginning of a frame.
type header struct {
	size int
	kind byte
	id   uint64
}

func appendHeader(dst []byte, h header) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.size))
	dst = append(dst, h.kind, 'w', 'r', 'm')
	return binary.LittleEndian.AppendUint64(dst, h.id)
}

func parseHeader(b []byte) (header, error) {
	h := header{size: int(binary.LittleEndian.Uint32(b)), kind: b[4], id: binary.LittleEndian.Uint64(b[8:])}
	most := maxControl
	if h.kind == kindScore || h.kind == kindDone {
		most = maxScore
	}
	switch {
	case string(b[5:8]) != "wrm", h.kind < kindHello, h.kind > kindFailed:
		return h, fmt.Errorf("%w: no frame begins with % x", errProtocol, b[:headerBytes])
	case h.size < 0 || h.size > most: // below 0 where an int has 32 bits
		return h, fmt.Errorf("%w: %d bytes of a frame of kind %d", errProtocol, h.size, h.kind)
	}
	return h, nil
}

// readFrame reads a frame that has no file.
func readFrame(r io.Reader) (header, []byte, error) {
	var b [headerBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return h, nil, err
	}
	payload, err := readPayload(r, nil, h.size)
	return h, payload, err
}

// readPayload appends so many bytes to b, which is empty, and takes memory as they come.
func readPayload(r io.Reader, b []byte, n int) ([]byte, error) {
	const step = 1 << 20
	for len(b) < n {
		at := len(b)
		b = slices.Grow(b, min(step, n-at))[:at+min(step, n-at)]
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// hello is what a worker says of its card.
type hello struct {
	Name       string
	Capability int
	SMs        int
	Driver     string
	Memory     int64
	Cards      int // that the driver shows this machine's processes
}

// load asks for a model.
type load struct {
	Model  uint64
	Config json.RawMessage // a [model.Config]
	DType  string
	Bytes  int64 // of the weights
}

// fill asks for some of a model's weights to be taken to the card.
type fill struct {
	Model uint64
	Spans []span
}

// finished answers that all were.
type finished struct{ Begin, Fill, Finish time.Duration }

// loaded answers it.
type loaded struct {
	Bytes   int64 // of the card's memory
	Longest int   // tokens of a sequence
}

// failure is an error on its way to the other process.
type failure struct {
	Text string
	Lost bool  `json:",omitempty"` // the card is lost to the process, which ends
	None bool  `json:",omitempty"` // there is no card, or no driver for it
	Need int64 `json:",omitempty"` // bytes of the card's memory, of which there are too few
	Free int64 `json:",omitempty"`
}

// failureOf is the failure of an error.
func failureOf(err error) failure {
	f := failure{Text: err.Error(), Lost: driver.Lost(err)}
	var model *cuda.MemoryError
	var taken *driver.MemoryError
	switch {
	case errors.As(err, &model):
		f.Need, f.Free = int64(model.Need()), int64(model.Free)
	case errors.As(err, &taken):
		f.Need, f.Free = taken.Asked, taken.Free
	}
	var library *driver.LibraryError
	var none *driver.NoCardError
	f.None = errors.As(err, &library) || errors.As(err, &none)
	return f
}

// Bits of a sequence's flags.
const (
	flagEvery = 1 << iota
	flagTypes
)

// appendScore appends the payload of a batch: the model, the number of sequences, and for
// each the numbers of its ids and read tokens, flags, ids, types and read tokens, int32 all.
func appendScore(dst []byte, m uint64, seqs []plan.Sequence) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, m)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(seqs)))
	for i := range seqs {
		s := &seqs[i]
		flags := uint32(0)
		if s.Every {
			flags |= flagEvery
		}
		if s.Types != nil {
			flags |= flagTypes
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s.IDs)))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s.Read)))
		dst = binary.LittleEndian.AppendUint32(dst, flags)
		dst = appendInts(dst, s.IDs)
		if s.Types != nil {
			dst = appendInts(dst, s.Types)
		}
		dst = appendInts(dst, s.Read)
	}
	return dst
}

func appendInts(dst []byte, v []int32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
	}
	return dst
}

// scoreBytes is an upper bound of appendScore's length.
func scoreBytes(seqs []plan.Sequence) int {
	n := 12
	for i := range seqs {
		s := &seqs[i]
		n += 12 + 4*(len(s.IDs)+len(s.Types)+len(s.Read))
	}
	return n
}

// batch is a decoded one, whose memory is used again.
type batch struct {
	model uint64
	seqs  []plan.Sequence
	ints  []int32
}

// decode reads appendScore's payload.
func (b *batch) decode(p []byte) error {
	size := len(p)
	short := func() error { return fmt.Errorf("%w: a batch of %d bytes", errProtocol, size) }
	if len(p) < 12 || len(p)%4 != 0 {
		return short()
	}
	b.model = binary.LittleEndian.Uint64(p)
	n := int(binary.LittleEndian.Uint32(p[8:]))
	p = p[12:]
	if n > len(p)/12 {
		return short()
	}
	if cap(b.ints) < len(p)/4 {
		b.ints = make([]int32, len(p)/4)
	}
	b.ints = b.ints[:len(p)/4]
	for i := range b.ints {
		b.ints[i] = int32(binary.LittleEndian.Uint32(p[4*i:]))
	}
	rest := b.ints
	take := func(n int) []int32 {
		v := rest[:n:n]
		rest = rest[n:]
		return v
	}
	b.seqs = b.seqs[:0]
	for range n {
		if len(rest) < 3 {
			return short()
		}
		ids, read, flags := int(uint32(rest[0])), int(uint32(rest[1])), rest[2]
		rest = rest[3:]
		types := 0
		if flags&flagTypes != 0 {
			types = ids
		}
		if ids > len(rest) || read > len(rest) || ids+types+read > len(rest) {
			return short()
		}
		s := plan.Sequence{IDs: take(ids), Every: flags&flagEvery != 0}
		if flags&flagTypes != 0 {
			s.Types = take(types)
		}
		s.Read = take(read)
		b.seqs = append(b.seqs, s)
	}
	if len(rest) != 0 {
		return short()
	}
	return nil
}

func appendFloats(dst []byte, v []float32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// takeFloats fills dst from the front of p, which it returns without them.
func takeFloats(dst []float32, p []byte) []byte {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
	}
	return p[4*len(dst):]
}
