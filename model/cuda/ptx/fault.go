package ptx

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sort"
	"strings"
)

// Fault is what a launch did wrong.
type Fault struct {
	Kernel string
	Block  int
	Warp   int
	Lanes  uint32 // that ran the instruction
	Line   int    // of the PTX
	Text   string // of that line
	What   string
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("ptx: %s: %s", f.Kernel, f.What)
	}
	return fmt.Sprintf("ptx: %s: block %d, warp %d, lanes %s, line %d (%s): %s", f.Kernel, f.Block,
		f.Warp, laneList(f.Lanes), f.Line, f.Text, f.What)
}

// fault ends a launch.
func (w *warp) fault(format string, args ...any) {
	k := w.block.kernel
	panic(&Fault{Kernel: k.Name, Block: w.block.id, Warp: w.id, Lanes: w.mask, Line: w.at.line,
		Text: k.text(w.at.line), What: fmt.Sprintf(format, args...)})
}

// text is a line of PTX, cut to a readable length.
func (k *Kernel) text(line int) string {
	if line < 1 || line > len(k.lines) {
		return ""
	}
	s := strings.Join(strings.Fields(k.lines[line-1]), " ")
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return s
}

// laneList writes a mask as ranges of lanes.
func laneList(mask uint32) string {
	if mask == full {
		return "0-31"
	}
	var out []string
	for mask != 0 {
		from := bits.TrailingZeros32(mask)
		n := bits.TrailingZeros32(^(mask >> from))
		mask &^= (1<<n - 1) << from
		if n == 1 {
			out = append(out, fmt.Sprint(from))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", from, from+n-1))
		}
	}
	return strings.Join(out, ",")
}

// stuck reports where the warps of a cluster stand that cannot go on.
func (c *cluster) stuck() {
	where := map[string][]string{}
	for _, w := range c.warps {
		for _, g := range w.groups {
			in := &w.code()[g.pc]
			at := fmt.Sprintf("line %d (%s)", in.line, w.block.kernel.text(in.line))
			if g.state == meeting {
				at += ", waiting for lanes " + laneList(w.live&^g.mask)
			}
			who := fmt.Sprintf("block %d warp %d", w.block.id, w.id)
			if g.mask != full {
				who += " lanes " + laneList(g.mask)
			}
			where[at] = append(where[at], who)
		}
	}
	var lines []string
	for at, who := range where {
		lines = append(lines, strings.Join(who, ", ")+" at "+at)
	}
	sort.Strings(lines)
	for _, b := range c.blocks {
		for _, at := range slices.Sorted(maps.Keys(b.barriers)) {
			e := b.barriers[at]
			lines = append(lines,
				fmt.Sprintf("block %d: the mbarrier at %#x is in phase %d, waits for %d of %d arrivals and %d bytes",
					b.id, at, e.phase, e.pending, e.count, e.tx))
		}
	}
	panic(&Fault{Kernel: c.blocks[0].kernel.Name, Block: c.blocks[0].id,
		What: "deadlock:\n\t" + strings.Join(lines, "\n\t")})
}
