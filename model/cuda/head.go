package cuda

import (
	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// mapOf is what a tensor map is of.
type mapOf struct {
	p              Ptr
	rows, cols, ld int
	boxRows        int
}

// tensorMap is the address of a tensor map in device memory.
func (l *lowering) tensorMap(p Ptr, rows, cols, ld, boxRows int) Ptr {
	key := mapOf{p, rows, cols, ld, boxRows}
	if at, ok := l.maps[key]; ok {
		return at
	}
	at := l.take(128)
	l.maps[key] = at
	return at
}

// mean is the mean over the rows of each read token's sequence.
func (l *lowering) mean(x place) place {
	y := l.room(x.width, read, false)
	l.rowStep("mean", y, x, place{}, kernel.Rows{N: int32(x.width)}, func(c *class, a *kernel.Rows) {
		a.Index, a.Until = c.ptr(secMeanFirst), c.ptr(secMeanUntil)
	})
	x.slot.users--
	return y
}

// gather is the rows that are read.
func (l *lowering) gather(x place) place {
	y := l.room(x.width, read, x.wide)
	l.rowStep("lookup", y, x, place{}, kernel.Rows{N: int32(x.width)},
		func(c *class, a *kernel.Rows) { a.Index = c.ptr(secReads) })
	x.slot.users--
	return y
}

// head computes the outputs of the rows that are read. Layers of its own work in float32.
func (l *lowering) head(x place) {
	for _, b := range l.m.net.Head.Branches {
		n := b.Score.N
		out := l.take(4 * n * l.m.rows)
		y := x
		if b.Program != nil {
			y = l.run(b.Program, l.widen(x), false, true)
		}
		l.score(out, l.m.layout.scores[b.Score], n, b.Score.C, y)
		if b.Program != nil {
			y.slot.users--
		}
		l.m.branches = append(l.m.branches, branch{out, n})
		l.m.outputs += n
	}
}

// widen is a copy of rows in float32, or the rows themselves where they are that.
func (l *lowering) widen(x place) place {
	if l.suffix(x) == "_f32" {
		x.slot.users++
		x.wide = true
		return x
	}
	y := l.room(x.width, x.kind, true)
	l.rowStep("widen", y, x, place{}, kernel.Rows{N: int32(x.width)}, nil)
	return y
}

// writeMaps makes the tensor maps.
func (m *Model) writeMaps(maps map[mapOf]Ptr) error {
	for of, at := range maps {
		b, err := m.dev.TensorMap(of.p, of.rows, of.cols, of.ld, of.boxRows)
		if err != nil {
			return err
		}
		if err := m.dev.Write(at, b[:]); err != nil {
			return err
		}
	}
	return nil
}
