package bpe

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// Counter counts the words of texts.
type Counter struct{ words map[string]int64 }

// NewCounter returns a counter without words.
func NewCounter() *Counter { return &Counter{words: map[string]int64{}} }

// Add counts the words of a text. A text that goes on in the next call is best
// divided before white space.
func (c *Counter) Add(text []byte) {
	for len(text) > 0 {
		n := tokenizer.GPT2Word(text)
		c.words[string(text[:n])]++
		text = text[n:]
	}
}

// pair is two neighbouring symbols.
type pair struct{ a, b int32 }

// word is a counted word as symbols.
type word struct {
	symbols []int32
	count   int64
}

// entry is a pair with the count that it had when it was queued.
type entry struct {
	pair
	count int64
}

// queue is a heap of pairs, the most frequent first.
type queue []entry

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	x, y := q[i], q[j]
	return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) < 0
}
func (q *queue) Push(v any) { *q = append(*q, v.(entry)) }
func (q *queue) Pop() any {
	old := *q
	v := old[len(old)-1]
	*q = old[:len(old)-1]
	return v
}

// learner is the state of a training.
type learner struct {
	words  []word
	counts map[pair]int64
	where  map[pair]map[int32]struct{} // words that have, or had, the pair
	queue  queue
}

// minCount is how often a pair must occur to become a symbol.
const minCount = 2

// Train learns merges until there are symbols in all, the 256 bytes counted, or
// no pair occurs twice. Symbol 256+i is the i-th merge.
func (c *Counter) Train(symbols int) ([][2]int32, error) {
	if symbols < 256 {
		return nil, fmt.Errorf("bpe: %d symbols, want 256 for the bytes at least", symbols)
	}
	l := &learner{counts: map[pair]int64{}, where: map[pair]map[int32]struct{}{}}
	for _, k := range slices.Sorted(maps.Keys(c.words)) {
		w := word{count: c.words[k]}
		for i := range len(k) {
			w.symbols = append(w.symbols, int32(k[i]))
		}
		l.words = append(l.words, w)
		for i := range len(w.symbols) - 1 {
			l.add(pair{w.symbols[i], w.symbols[i+1]}, w.count, int32(len(l.words)-1))
		}
	}
	for p, n := range l.counts {
		l.queue = append(l.queue, entry{p, n})
	}
	heap.Init(&l.queue)
	var merges [][2]int32
	for len(merges) < symbols-256 {
		p, ok := l.most()
		if !ok {
			break
		}
		l.merge(p, int32(256+len(merges)))
		merges = append(merges, [2]int32{p.a, p.b})
	}
	return merges, nil
}

func (l *learner) add(p pair, n int64, w int32) {
	l.counts[p] += n
	if l.where[p] == nil {
		l.where[p] = map[int32]struct{}{}
	}
	l.where[p][w] = struct{}{}
}

// most returns the most frequent pair. Counts in the queue may be out of date:
// such entries are put back with their present count.
func (l *learner) most() (pair, bool) {
	for len(l.queue) > 0 {
		e := heap.Pop(&l.queue).(entry)
		switch n := l.counts[e.pair]; {
		case n < minCount:
		case n == e.count:
			return e.pair, true
		case n < e.count:
			heap.Push(&l.queue, entry{e.pair, n})
		}
		// A larger count has an entry of its own.
	}
	return pair{}, false
}

// merge makes a symbol of a pair in every word.
func (l *learner) merge(p pair, symbol int32) {
	grown := map[pair]struct{}{}
	for i := range l.where[p] {
		w := &l.words[i]
		out := w.symbols[:0:0]
		for k := 0; k < len(w.symbols); k++ {
			if k+1 == len(w.symbols) || w.symbols[k] != p.a || w.symbols[k+1] != p.b {
				out = append(out, w.symbols[k])
				continue
			}
			out = append(out, symbol)
			k++
		}
		if len(out) == len(w.symbols) {
			continue
		}
		for k := range len(w.symbols) - 1 {
			l.counts[pair{w.symbols[k], w.symbols[k+1]}] -= w.count
		}
		w.symbols = out
		for k := range len(out) - 1 {
			q := pair{out[k], out[k+1]}
			l.add(q, w.count, i)
			grown[q] = struct{}{}
		}
	}
	delete(l.where, p)
	delete(l.counts, p)
	for q := range grown {
		heap.Push(&l.queue, entry{q, l.counts[q]})
	}
}
