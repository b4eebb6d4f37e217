package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// relative is an [nn.Relative] with what its layers make of the table, which
// depends on the weights alone.
type relative struct {
	*nn.Relative
	shared     *distances
	key, query term
	d          int // size of a head
}

// distances are the rows that all layers of a network project.
type distances struct {
	table *embedding
	norm  norm      // nil for none
	read  []float32 // (R, C) the table's rows, with a norm, else nil
	rows  []float32 // (R, C) what is projected
	drows []float32 // its gradient; nil while serving
	ld    int
}

// term is one projection of the rows.
type term struct {
	layer *linear   // nil without the term
	heads []float32 // of each head panels of its columns, [D][NR] each
	cols  []float32 // of each head panels with the rows as steps, [R][NR] each; nil while serving
}

// relative returns what an attention knows of distances, nil when that is nothing.
func (w *weights) relative(a *nn.Attention) *relative {
	n := a.Relative
	if n == nil {
		return nil
	}
	if r := w.relatives[n]; r != nil {
		return r
	}
	d := w.distances[n.Table]
	if d == nil {
		d = &distances{table: w.embedding(n.Table), ld: kernel.Stride(n.Table.C)}
		if n.Norm != nil {
			d.norm = w.norm(n.Norm)
		}
		w.distances[n.Table] = d
	}
	r := &relative{Relative: n, shared: d, d: a.D}
	if n.Key != nil {
		r.key.layer = w.linear(n.Key)
	}
	if n.Query != nil {
		r.query.layer = w.linear(n.Query)
	}
	w.relatives[n] = r
	w.order = append(w.order, r)
	return r
}

// project computes what depends on the weights alone, anew after each change.
func (w *weights) project() {
	for _, d := range w.distances {
		d.refresh()
	}
	var s Scratch
	for _, r := range w.order {
		r.key.refresh(&s, r)
		r.query.refresh(&s, r)
	}
}

func (d *distances) refresh() {
	n := d.table.V
	d.rows = keep(&d.rows, n, d.ld)
	to := d.rows
	if d.norm != nil {
		d.read = keep(&d.read, n, d.ld)
		to = d.read
	}
	for i := range n {
		d.table.read(to[i*d.ld:][:d.table.C], int32(i))
	}
	if d.norm != nil {
		d.norm.forward(d.rows, d.ld, d.read, d.ld, n)
	}
}

// refresh projects the rows and lays the result out.
func (t *term) refresh(s *Scratch, r *relative) {
	if t.layer == nil {
		return
	}
	n, ld, from := r.Table.V, kernel.Stride(t.layer.Out()), r.shared
	y := make([]float32, n*ld)
	for lo := 0; lo < n; lo += kernel.RowBlock {
		m := min(kernel.RowBlock, n-lo)
		t.layer.forward(&s.Gemm, y[lo*ld:], ld, from.rows[lo*from.ld:], from.ld, m, kernel.Store)
	}
	heads := t.layer.Outs[0] / r.d
	size, cols := kernel.Pad(n)*r.d, kernel.Pad(r.d)*n
	grow(&t.heads, heads*size)
	if from.table.grad != nil {
		grow(&t.cols, heads*cols)
	}
	for h := range heads {
		kernel.PackRows(t.heads[:heads*size][h*size:], r.d*kernel.NR, 0, y[h*r.d:], ld, n, r.d)
		if from.table.grad != nil {
			kernel.PackCols(t.cols[:heads*cols][h*cols:], n*kernel.NR, 0, y[h*r.d:], ld, n, r.d)
		}
	}
}

// head returns the panels of a head's columns.
func (t *term) head(r *relative, h int) []float32 {
	n := kernel.Pad(r.Table.V) * r.d
	return t.heads[:cap(t.heads)][h*n:][:n]
}

// bytes returns the memory of what was computed.
func (w *weights) projected() int {
	n := 0
	for _, d := range w.distances {
		n += 4 * (len(d.read) + len(d.rows))
	}
	for _, r := range w.order {
		n += 4 * (cap(r.key.heads) + cap(r.query.heads))
	}
	return n
}

// near is the memory of one worker for distances.
type near struct {
	rows         []int32   // of each distance of a span, from −(T−1) to T−1
	byKey, byQry []float32 // (n, R) of each key, (m, R) of each query of a block
	dKey, dQry   []float32 // their gradients
}

// products computes rows of x, of one head, times a term: (m, R) with stride
// kernel.Stride(R).
func (t *term) products(s *Scratch, dst []float32, r *relative, x []float32, ldx, m, h int) {
	n := kernel.Pad(r.Table.V)
	ld := kernel.Stride(n)
	for lo := 0; lo < m; lo += kernel.RowBlock {
		kernel.MatMul(dst[lo*ld:], ld, x[lo*ldx:], ldx, t.head(r, h), r.d*kernel.NR,
			min(kernel.RowBlock, m-lo), r.d, n/kernel.NR, &s.Gemm)
	}
}

// begin prepares the scores of one head against the n keys of a span.
func (r *relative) begin(s *Scratch, k []float32, ldk, n, h int) {
	rows := grow(&s.near.rows, 2*n-1)
	for i := range rows {
		rows[i] = int32(r.Row(i - n + 1))
	}
	if r.query.layer != nil {
		r.query.products(s, grow(&s.near.byKey, n*kernel.Stride(r.Table.V)), r, k, ldk, n, h)
	}
}

// add adds to the scores (m, n) of the queries from position lo on what they are
// by distance, before scores are scaled.
func (r *relative) add(s *Scratch, scores []float32, lds int, q []float32, ldq, lo, m, n, h int) {
	ld := kernel.Stride(r.Table.V)
	if r.key.layer != nil {
		r.key.products(s, grow(&s.near.byQry, m*ld), r, q, ldq, m, h)
	}
	for i := range m {
		row := scores[i*lds:][:n]
		rows := s.near.rows[lo+i:][:n] // of key j the (n − 1 − j)-th
		if r.key.layer != nil {
			own := s.near.byQry[:m*ld][i*ld:][:ld]
			for j := range row {
				row[j] += own[rows[n-1-j]]
			}
		}
		if r.query.layer != nil {
			keys := s.near.byKey[:n*ld]
			for j := range row {
				row[j] += keys[j*ld+int(rows[n-1-j])]
			}
		}
	}
}
