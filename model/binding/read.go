package binding

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// piece is a run of rows of one parameter, of which there is a sum.
type piece struct {
	param     int
	row, rows int
	sum       [sha256.Size]byte
}

// pieceLen is about how many values a piece has. It is in the sum of all.
const pieceLen = 1 << 17

// pieceRows keeps the pieces of a parameter apart by whole groups of 64 rows, so
// that two are never packed into the same panel at once. What must be turned is
// one piece, as is what is picked from a larger tensor.
func pieceRows(p *nn.Param) int {
	if whole(p) {
		return p.Shape[0]
	}
	return max(64, pieceLen/p.RowLen()/64*64)
}

// whole says whether a parameter is read and stored at once.
func whole(p *nn.Param) bool { return p.Transposed || p.Rows != nil }

// cut cuts parameters into pieces.
func cut(params []nn.Param) []piece {
	var pieces []piece
	for i := range params {
		p := &params[i]
		n := pieceRows(p)
		for row := 0; row < p.Shape[0]; row += n {
			pieces = append(pieces, piece{param: i, row: row, rows: min(n, p.Shape[0]-row)})
		}
	}
	return pieces
}

// loading is a model's weights on their way from a source into its layers.
type loading struct {
	Options
	n      *nn.Network
	params []nn.Param
	store  Store
	rows   int // that store takes, and multiples
	src    Source
	total  int // values
	pieces []piece
	next   atomic.Int64   // of pieces
	left   []atomic.Int32 // pieces of each parameter that are not yet read
	done   atomic.Int64   // values
}

// Store takes the values of whole rows of a parameter (indices of the first dimension), beginning
// with row. Calls for rows of different groups of 64, and for different parameters, run at the same
// time.
type Store func(param, row int, values []float32)

// Weights are what was read.
type Weights struct {
	Parameters int
	// Digest names the weights as they were read, before any conversion: "sha256:" and 64 hexadecimal
	// digits. Equal tensors under equal names give equal digests, whatever files they came from.
	Digest string
}

// Read reads the values of a network's parameters, which [Check] found in the source, in parts,
// hashes them and hands them to store: so many rows or a multiple, but at a parameter's end. A
// value that is not finite is an error.
func Read(n *nn.Network, params []nn.Param, src Source, o Options, rows int, store Store) (Weights, error) {
	l := &loading{Options: o, n: n, params: params, store: store, rows: rows, src: src, pieces: cut(params),
		left: make([]atomic.Int32, len(params))}
	for i := range l.pieces {
		l.left[l.pieces[i].param].Add(1)
		l.total += l.len(&l.pieces[i])
	}
	if l.Spent == nil {
		l.Spent = new(Spent)
	}
	lanes := kernel.SHA256Together()
	if len(l.pieces) < lanes*max(1, o.Workers) { // not all would be busy: see kernel.SHA256Together
		lanes = 1
	}
	var (
		wg     sync.WaitGroup
		once   sync.Once
		failed error
	)
	for range max(1, o.Workers) {
		wg.Go(func() {
			if err := newReader(l, lanes).run(); err != nil {
				once.Do(func() { failed = err })
				l.next.Store(int64(len(l.pieces)))
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return Weights{}, failed
	}
	return Weights{Parameters: l.total, Digest: digest(params, l.pieces)}, nil
}

// len returns the number of a piece's values.
func (l *loading) len(p *piece) int { return p.rows * l.params[p.param].RowLen() }

const (
	// partLen is about how many values are read, looked at, stored and hashed at a time, so that
	// those of all texts that are hashed side by side are still in cache.
	partLen = 1 << 14
	// heldLen is how many values of parts one goroutine holds, unless one part alone has more.
	heldLen = 1 << 21
)

// partRows is how many rows of a piece are read at a time. All parts but the last are whole blocks
// of the hash.
func (l *loading) partRows(p *piece) int {
	param := &l.params[p.param]
	if whole(param) {
		return p.rows
	}
	const values = sha256.BlockSize / 4
	step, n := l.rows, param.RowLen()
	for step*n%values != 0 {
		step *= 2
	}
	return min(p.rows, max(1, partLen/n/step)*step)
}

// reader is the work of one goroutine: pieces whose texts it hashes side by side.
type reader struct {
	*loading
	texts *kernel.SHA256Texts
	lanes []lane
	parts [][]byte
	held  int    // values of the parts of lanes
	waits *piece // taken, until there is room for it
	lap   time.Time
}

// lane is a piece on its way.
type lane struct {
	piece *piece // nil for none
	rows  int    // that were read
	buf   []float32
	text  []byte // read and not yet hashed
}

func newReader(l *loading, lanes int) *reader {
	return &reader{loading: l, texts: kernel.NewSHA256Texts(lanes), lanes: make([]lane, lanes), parts: make([][]byte, lanes), lap: time.Now()}
}

// spent ends a lap.
func (r *reader) spent(on *atomic.Int64) {
	now := time.Now()
	on.Add(int64(now.Sub(r.lap)))
	r.lap = now
}

// run reads pieces until there are no more.
func (r *reader) run() error {
	for {
		busy := false
		for i := range r.lanes {
			if err := r.supply(i); err != nil {
				return err
			}
			r.parts[i] = r.lanes[i].text
			busy = busy || r.lanes[i].piece != nil
		}
		if !busy {
			return nil
		}
		n := r.texts.Add(r.parts)
		for i := range r.lanes {
			if l := &r.lanes[i]; l.piece != nil {
				l.text = l.text[n:]
			}
		}
		r.spent(&r.Spent.Hash)
	}
}

// supply gives a lane a block to hash at least, if there is one.
func (r *reader) supply(i int) error {
	l := &r.lanes[i]
	for len(l.text) < sha256.BlockSize {
		if l.piece != nil && l.rows == l.piece.rows {
			r.finish(i)
		}
		if l.piece == nil {
			if taken, err := r.take(l); !taken {
				return err
			}
		}
		if err := r.read(l); err != nil {
			return err
		}
	}
	return nil
}

// take begins a piece, if there is one and room for its parts.
func (r *reader) take(l *lane) (bool, error) {
	for {
		if err := r.Interrupted(); err != nil {
			return false, err
		}
		if r.waits == nil {
			i := int(r.next.Add(1)) - 1
			if i >= len(r.pieces) {
				return false, nil
			}
			r.waits = &r.pieces[i]
		}
		p := r.waits
		n := r.partRows(p) * r.params[p.param].RowLen()
		if 2*heldLen/len(r.lanes) < n { // most lanes would be idle beside it
			if r.waits = nil; len(r.lanes) > 1 {
				if err := r.alone(p, n); err != nil {
					return false, err
				}
				continue
			}
		} else if r.held > 0 && r.held+n > heldLen {
			return false, nil
		}
		r.waits, l.piece, l.rows, r.held = nil, p, 0, r.held+n
		if cap(l.buf) < n || cap(l.buf) > 2*partLen && cap(l.buf) > n {
			l.buf = make([]float32, n)
		}
		l.buf = l.buf[:n]
		return true, nil
	}
}

// alone reads a piece in parts of so many values, which are hashed beside no others.
func (r *reader) alone(p *piece, n int) error {
	texts, l := kernel.NewSHA256Texts(1), &lane{piece: p, buf: make([]float32, n)}
	for l.rows < p.rows {
		if err := r.read(l); err != nil {
			return err
		}
		l.text = l.text[texts.Add([][]byte{l.text}):]
		r.spent(&r.Spent.Hash)
	}
	p.sum = texts.Sum(0, l.text)
	r.end(p)
	return nil
}

// read reads the next part of a lane's piece and stores it.
func (r *reader) read(l *lane) error {
	p := l.piece
	param := &r.params[p.param]
	name, n := r.n.SourceName(param.Name), param.RowLen()
	row := p.row + l.rows
	values := l.buf[:min(len(l.buf), (p.rows-l.rows)*n)]
	if err := ReadRows(r.src, values, name, param, row); err != nil {
		return err
	}
	if i := NotFinite(values); i >= 0 {
		return fmt.Errorf("tensor %q: element %d is %v: %w", name, row*n+i, values[i], ErrNotFinite)
	}
	l.rows += len(values) / n
	l.text = float32Bytes(values)
	r.spent(&r.Spent.Read)
	r.store(p.param, row, values)
	r.spent(&r.Spent.Store)
	return nil
}

// finish ends a lane's piece.
func (r *reader) finish(i int) {
	l := &r.lanes[i]
	p := l.piece
	p.sum = r.texts.Sum(i, l.text)
	l.piece, l.text, r.held = nil, nil, r.held-len(l.buf)
	r.end(p)
}

// end notes that a piece is read.
func (r *reader) end(p *piece) {
	if s, ok := r.src.(releaser); ok && r.left[p.param].Add(-1) == 0 {
		s.Release(r.n.SourceName(r.params[p.param].Name))
	}
	n := r.done.Add(int64(r.len(p)))
	if r.Progress != nil {
		r.Progress(float64(n) / float64(r.total))
	}
}

// digest hashes the pieces' hashes in the order of the tensors' names.
func digest(params []nn.Param, pieces []piece) string {
	slices.SortStableFunc(pieces,
		func(a, b piece) int { return strings.Compare(params[a.param].Name, params[b.param].Name) })
	h := sha256.New()
	for _, p := range pieces {
		q := &params[p.param]
		fmt.Fprintf(h, "%q%v%d", q.Name, q.Shape, p.row)
		h.Write(p.sum[:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
