package cuda

import (
	"sort"
	"sync"
	"sync/atomic"
	"unsafe"

	kernels "github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/kernel"
)

// sink is where an image is written, whatever is not being zero. Stores, which run at the same time,
// have no errors: the first one is kept. It is written and not mapped, as a system that gives pages
// one fault after the other, and zeroes each first, takes two to six times the time. Numbers are in the
// machine's own order of bytes, which is the card's on all that have cards.
type sink struct {
	to   Room
	size int
	runs []run
	left []atomic.Int64 // bytes of each run that are to be written

	mu  sync.Mutex
	err error
}

func newSink(l *layout, to Room) *sink {
	s := &sink{to: to, size: l.size, runs: l.runs, left: make([]atomic.Int64, len(l.runs))}
	for i, r := range s.runs {
		s.left[i].Store(int64(r.size))
	}
	return s
}

// write writes a part of a run.
func (s *sink) write(b []byte, at int) {
	if _, err := s.to.WriteAt(b, int64(at)); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err == nil {
			s.err = err
		}
		return
	}
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].at > at }) - 1
	if s.left[i].Add(-int64(len(b))) == 0 {
		s.whole(i)
	}
}

// whole says that a run is whole, and what lies before the next.
func (s *sink) whole(i int) {
	until := s.size
	if i+1 < len(s.runs) {
		until = s.runs[i+1].at
	}
	s.to.Whole(s.runs[i].at, until-s.runs[i].at)
}

// end says it of runs of which some bytes were never written, or twice, which was too early then. It
// returns the first error.
func (s *sink) end() error {
	for i := range s.runs {
		if s.left[i].Load() != 0 {
			s.whole(i)
		}
	}
	return s.failed()
}

// failed returns the first error.
func (s *sink) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// put32 writes float32 values of a vector from the element at on.
func (s *sink) put32(vector, at int, values []float32) {
	if len(values) > 0 {
		s.write(bytesOf(values), vector+4*at)
	}
}

// bytesOf are the bytes of numbers, in the machine's own order.
func bytesOf[T float32 | uint16](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}

// pieceBytes is how much of a matrix is converted before it is written.
const pieceBytes = 1 << 18

// pieces are memory for that, of [pieceBytes] or a row.
var pieces = sync.Pool{New: func() any { return new([]byte) }}

// put writes rows of a matrix from one on.
func (l *layout) put(image *sink, m matrix, row int, values []float32) {
	if m.wide || !l.bf16 {
		image.put32(m.at, row*m.k, values)
		return
	}
	size := 2 * m.k
	if m.e4m3 {
		size = kernels.E4M3Width(m.k)
	}
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	most := max(1, pieceBytes/size)
	if len(*piece) < most*size {
		*piece = make([]byte, most*size)
	}
	for len(values) > 0 {
		n := min(most, len(values)/m.k)
		b := (*piece)[:n*size]
		switch {
		case m.e4m3:
			image.put32(m.scales, row, quantizeRows(b, values[:n*m.k], m.k))
		case m.fold != nil:
			m.fold.round(unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), n*m.k), values[:n*m.k])
		default:
			kernel.RoundBF16(unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), n*m.k), values[:n*m.k])
		}
		image.write(b, m.at+row*size)
		row, values = row+n, values[n*m.k:]
	}
}

// quantizeRows writes rows of k values as e4m3, with zeros behind each, and returns their scales.
func quantizeRows(to []byte, values []float32, k int) (scales []float32) {
	width := kernels.E4M3Width(k)
	for ; len(values) > 0; to, values = to[width:], values[k:] {
		clear(to[k:width])
		scales = append(scales, kernels.QuantizeE4M3(to[:k], values[:k]))
	}
	return scales
}
