package batch

import (
	"cmp"
	"container/heap"
	"time"
)

// item is one sequence that waits. While it does it is linked into its line, by
// age, and into its flow, which is its request's part of the line.
type item struct {
	req    *request
	line   *line
	flow   *flow
	seq    Sequence
	dst    *float32 // where its reward goes, in the request's own memory
	prev   *item
	next   *item
	before *item // in the flow
	behind *item
	joined bool // shares most of its tokens with the item before it in the request
	linked bool
}

func (it *item) tokens() int { return len(it.seq.IDs) }

// group returns the item behind those that are joined to it, and the tokens of
// all of them; it looks no further than most tokens.
func (it *item) group(most int) (end *item, tokens int) {
	for end = it; end != nil && (end == it || end.joined) && tokens <= most; end = end.behind {
		tokens += end.tokens()
	}
	return end, tokens
}

// gone reports whether nobody waits for the item any more.
func (it *item) gone() bool {
	select {
	case <-it.req.gone:
		return true
	default:
		return false
	}
}

// line is the waiting sequences of one lane: by age, and by client, request and
// place in it. The queue's lock guards it.
type line struct {
	lane    *Lane
	first   *item // the oldest
	last    *item
	count   int
	clients group
	byName  map[string]*client
	seq     int // of the next flow or client
}

// client is what waits for one client.
type client struct {
	share
	name  string
	flows group
	count int // of its flows, those out of the group among them
}

// flow is what waits of one request, in its order.
type flow struct {
	share
	client *client
	first  *item
	last   *item
}

// share is a part of the engine: how many tokens somebody was given, counted
// from what the least served had when it came.
type share struct {
	served int
	size   int // of the request that it began with, in tokens
	seq    int
	at     int // in its group, -1 while it is in none
	of     any // the *flow or *client that it is part of
}

// group is a heap of shares: the least served first, of those that were served
// alike the smaller request, and then the one that came first.
type group struct {
	shares []*share
	least  int // served of the last one that was chosen: where a newcomer begins
}

func (g *group) Len() int { return len(g.shares) }
func (g *group) Less(i, j int) bool {
	a, b := g.shares[i], g.shares[j]
	return cmp.Or(cmp.Compare(a.served, b.served), cmp.Compare(a.size, b.size), cmp.Compare(a.seq, b.seq)) < 0
}
func (g *group) Swap(i, j int) {
	g.shares[i], g.shares[j] = g.shares[j], g.shares[i]
	g.shares[i].at, g.shares[j].at = i, j
}
func (g *group) Push(x any) {
	s := x.(*share)
	s.at = len(g.shares)
	g.shares = append(g.shares, s)
}
func (g *group) Pop() any {
	last := len(g.shares) - 1
	s := g.shares[last]
	g.shares[last] = nil
	g.shares = g.shares[:last]
	s.at = -1
	return s
}

// choose returns the share whose turn it is. The group is not empty.
func (g *group) choose() any {
	g.least = max(g.least, g.shares[0].served)
	return g.shares[0].of
}

// join adds a newcomer, which has been served as much as the least served.
func (g *group) join(s *share) {
	s.served = g.least
	heap.Push(g, s)
}

// charge counts tokens that a share was given.
func (g *group) charge(s *share, tokens int) {
	s.served += tokens
	if s.at >= 0 {
		heap.Fix(g, s.at)
	}
}

// add appends a client's items of one request.
func (l *line) add(name string, items []item) {
	size := 0
	for i := range items {
		size += items[i].tokens()
	}
	c := l.byName[name]
	if c == nil {
		c = &client{name: name, share: share{size: size, seq: l.next()}}
		c.of = c
		l.byName[name] = c
		l.clients.join(&c.share)
	}
	f := &flow{client: c, share: share{size: size, seq: l.next()}}
	f.of = f
	c.flows.join(&f.share)
	c.count++
	for i := range items {
		l.push(f, &items[i])
	}
}

func (l *line) next() int {
	l.seq++
	return l.seq
}

func (l *line) push(f *flow, it *item) {
	it.line, it.flow, it.linked = l, f, true
	it.prev, it.before = l.last, f.last
	if l.last == nil {
		l.first = it
	} else {
		l.last.next = it
	}
	if f.last == nil {
		f.first = it
	} else {
		f.last.behind = it
	}
	l.last, f.last = it, it
	l.count++
}

func (l *line) remove(it *item) {
	f := it.flow
	if it.prev == nil {
		l.first = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		l.last = it.prev
	} else {
		it.next.prev = it.prev
	}
	if it.before == nil {
		f.first = it.behind
	} else {
		it.before.behind = it.behind
	}
	if it.behind == nil {
		f.last = it.before
	} else {
		it.behind.before = it.before
	}
	it.prev, it.next, it.before, it.behind, it.flow, it.linked = nil, nil, nil, nil, nil, false
	l.count--
	if f.first == nil {
		l.leave(f)
	}
}

// leave takes an empty flow out, and its client with the last of them.
func (l *line) leave(f *flow) {
	c := f.client
	l.pause(f)
	if c.count--; c.count == 0 {
		delete(l.byName, c.name)
	}
}

// pause takes a flow out of its client's turns, and a client that has no other
// out of the line's. A flow that is out of turn already stays so.
func (l *line) pause(f *flow) {
	c := f.client
	if f.at >= 0 {
		heap.Remove(&c.flows, f.at)
	}
	if c.flows.Len() == 0 && c.at >= 0 {
		heap.Remove(&l.clients, c.at)
	}
}

// resume undoes a pause, unless the flow has become empty.
func (l *line) resume(f *flow) {
	if f.first == nil {
		return
	}
	heap.Push(&f.client.flows, &f.share)
	if f.client.at < 0 {
		heap.Push(&l.clients, &f.client.share)
	}
}

// waiting returns how long the oldest sequence has waited. The line is not empty.
func (l *line) waiting(now time.Time) time.Duration { return now.Sub(l.first.req.since) }
