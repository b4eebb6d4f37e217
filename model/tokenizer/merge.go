package tokenizer

import "slices"

// noMerge is the rank of a pair that does not merge; it is above every rank.
const noMerge = ^uint64(0)

// A mergeTable maps a pair of ids to the rank of its merge and the id it
// becomes, packed as rank<<32 | id so that the smaller value merges first. It is
// open-addressed: one probe is one cache line.
type mergeTable struct {
	slots []mergeSlot
	mask  uint64
}

type mergeSlot struct {
	pair  uint64 // left<<32 | right, plus 1; 0 is free
	merge uint64
}

func newMergeTable(n int) *mergeTable {
	size := 4
	for size < 2*n {
		size *= 2
	}
	return &mergeTable{slots: make([]mergeSlot, size), mask: uint64(size - 1)}
}

func pairKey(left, right int32) uint64 { return uint64(left)<<32 | uint64(right) + 1 }

// put sets the merge of a pair; a later one replaces an earlier one.
func (t *mergeTable) put(left, right int32, rank uint32, id int32) {
	key := pairKey(left, right)
	i := hash64(key) & t.mask
	for t.slots[i].pair != 0 && t.slots[i].pair != key {
		i = (i + 1) & t.mask
	}
	t.slots[i] = mergeSlot{key, uint64(rank)<<32 | uint64(id)}
}

// get returns what a pair merges into, noMerge when it does not.
func (t *mergeTable) get(left, right int32) uint64 {
	key := pairKey(left, right)
	for i := hash64(key) & t.mask; ; i = (i + 1) & t.mask {
		switch s := &t.slots[i]; s.pair {
		case key:
			return s.merge
		case 0:
			return noMerge
		}
	}
}

// hash64 spreads a key by a multiplication (Fibonacci hashing).
func hash64(x uint64) uint64 {
	x *= 0x9E3779B97F4A7C15
	return x ^ x>>32
}

// mergeScratch is the space for the merges of one word.
type mergeScratch struct {
	ids   []int32  // the symbols of the word
	ranks []uint64 // what symbol i and the next one merge into
	prev  []int32  // links between the symbols that are left, for long words
	next  []int32
	heap  []uint64 // rank<<32 | position
	// pushes counts what went through the heap, for tests of the cost.
	pushes int
	key    []byte
}

// shortWord is the number of symbols up to which a scan for the lowest rank
// beats a heap.
const shortWord = 48

// merge applies the merges to sc.ids in the order of their rank, leftmost first
// among equals, and appends what is left to dst.
func (t *mergeTable) merge(sc *mergeScratch, dst []int32) []int32 {
	ids := sc.ids
	if len(ids) < 2 {
		return append(dst, ids...)
	}
	ranks := slices.Grow(sc.ranks[:0], len(ids))
	for i := 1; i < len(ids); i++ {
		ranks = append(ranks, t.get(ids[i-1], ids[i]))
	}
	sc.ranks = ranks
	if len(ids) > shortWord {
		return t.mergeLong(sc, dst, nil)
	}
	for {
		best, at := noMerge, 0
		for i, r := range ranks {
			if r < best {
				best, at = r, i
			}
		}
		if best == noMerge {
			return append(dst, ids...)
		}
		ids[at] = int32(uint32(best))
		copy(ids[at+1:], ids[at+2:])
		ids = ids[:len(ids)-1]
		copy(ranks[at:], ranks[at+1:])
		ranks = ranks[:len(ranks)-1]
		if at < len(ranks) {
			ranks[at] = t.get(ids[at], ids[at+1])
		}
		if at > 0 {
			ranks[at-1] = t.get(ids[at-1], ids[at])
		}
	}
}

// mergeLong is merge with a heap of candidates. A candidate whose pair has
// changed meanwhile is dropped when it comes up. Each merge pushes at most two,
// so a word of n symbols costs O(n log n).
//
// h, where it is not nil, says which bytes of the word each symbol holds, may
// refuse merges and gets the bytes of each token.
func (t *mergeTable) mergeLong(sc *mergeScratch, dst []int32, h *holding) []int32 {
	n := int32(len(sc.ids))
	ids, ranks := sc.ids, append(sc.ranks, noMerge)
	// A huge word needs 28 bytes a symbol, and no more for growing slices.
	prev, next := slices.Grow(sc.prev[:0], int(n)), slices.Grow(sc.next[:0], int(n))
	heap := slices.Grow(sc.heap[:0], int(n))
	for i := range n {
		prev, next = append(prev, i-1), append(next, i+1)
		if ranks[i] != noMerge {
			heap = append(heap, ranks[i]>>32<<32|uint64(i))
		}
	}
	sc.pushes += len(heap)
	for i := len(heap)/4 + 1; i >= 0; i-- {
		siftDown(heap, i)
	}
	for len(heap) > 0 {
		top := heap[0]
		last := len(heap) - 1
		heap[0] = heap[last]
		heap = heap[:last]
		siftDown(heap, 0)
		at := int32(uint32(top))
		if ranks[at]>>32 != top>>32 || ranks[at] == noMerge {
			continue
		}
		gone := next[at]
		ids[at] = int32(uint32(ranks[at]))
		ranks[gone] = noMerge
		next[at] = next[gone]
		ranks[at] = noMerge
		if right := next[at]; right < n {
			prev[right] = at
			ranks[at] = h.allow(t.get(ids[at], ids[right]), at, next[right])
			heap = sc.push(heap, ranks[at], at)
		}
		if left := prev[at]; left >= 0 {
			ranks[left] = h.allow(t.get(ids[left], ids[at]), left, next[at])
			heap = sc.push(heap, ranks[left], left)
		}
	}
	for i := int32(0); i < n; i = next[i] {
		dst = append(dst, ids[i])
		h.append(i, next[i])
	}
	sc.ranks, sc.prev, sc.next, sc.heap = ranks, prev, next, heap
	return dst
}

// A holding says which bytes of a word the symbols of a merge hold.
type holding struct {
	symbols []span // as the merge began
	out     []span // of the tokens, in place of the first symbols
	no      refusal
}

// of returns the bytes of the symbols [from, to).
func (h *holding) of(from, to int32) span {
	s := h.symbols[from]
	for _, other := range h.symbols[from+1 : to] {
		s.start, s.end = min(s.start, other.start), max(s.end, other.end)
	}
	return s
}

// allow returns what a pair merges into, unless that is refused.
func (h *holding) allow(merge uint64, from, to int32) uint64 {
	if h == nil || merge == noMerge || len(h.no.plain) == 0 || !h.no.guard.has(int32(uint32(merge))) {
		return merge
	}
	if s := h.of(from, to); touches(h.no.plain, s.start, s.end) {
		return noMerge
	}
	return merge
}

// append adds a token of the symbols [from, to).
func (h *holding) append(from, to int32) {
	if h != nil {
		h.out = append(h.out, h.of(from, to))
	}
}

// mergeHeld is merge of the symbols of sc.merge.ids, whose bytes are in sc.held;
// it leaves the bytes of the tokens there.
func (t *mergeTable) mergeHeld(sc *scratch, dst []int32, no refusal) []int32 {
	m := &sc.merge
	h := &holding{symbols: sc.held, out: sc.held[:0], no: no}
	m.ranks = slices.Grow(m.ranks[:0], len(m.ids))
	for i := 1; i < len(m.ids); i++ {
		m.ranks = append(m.ranks, h.allow(t.get(m.ids[i-1], m.ids[i]), int32(i-1), int32(i+1)))
	}
	dst = t.mergeLong(m, dst, h)
	sc.held = h.out
	return dst
}

// push adds a candidate to the heap of four children a node.
func (sc *mergeScratch) push(heap []uint64, rank uint64, at int32) []uint64 {
	if rank == noMerge {
		return heap
	}
	sc.pushes++
	x := rank>>32<<32 | uint64(at)
	heap = append(heap, x)
	i := len(heap) - 1
	for i > 0 && heap[(i-1)/4] > x {
		heap[i] = heap[(i-1)/4]
		i = (i - 1) / 4
	}
	heap[i] = x
	return heap
}

func siftDown(heap []uint64, i int) {
	if i >= len(heap) {
		return
	}
	x := heap[i]
	for {
		child := 4*i + 1
		if child >= len(heap) {
			break
		}
		least := child
		for k := child + 1; k < min(child+4, len(heap)); k++ {
			if heap[k] < heap[least] {
				least = k
			}
		}
		if heap[least] >= x {
			break
		}
		heap[i] = heap[least]
		i = least
	}
	heap[i] = x
}
