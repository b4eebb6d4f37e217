package batch

import "time"

// item is one sequence that waits. It is linked into its line while it does.
type item struct {
	req    *request
	line   *line
	seq    Sequence
	dst    *float32 // where its reward goes, in the request's own memory
	prev   *item
	next   *item
	linked bool
}

func (it *item) tokens() int { return len(it.seq.IDs) }

// line is the waiting sequences of one lane, oldest first. The queue's lock
// guards it.
type line struct {
	lane  *Lane
	first *item
	last  *item
	count int
}

func (l *line) push(it *item) {
	it.line, it.linked, it.prev = l, true, l.last
	if l.last == nil {
		l.first = it
	} else {
		l.last.next = it
	}
	l.last = it
	l.count++
}

func (l *line) remove(it *item) {
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
	it.prev, it.next, it.linked = nil, nil, false
	l.count--
}

// pick chooses the next batch: the oldest sequence whatever its length, then
// the oldest that fit beside it. It takes none out.
func (l *line) pick(maxTokens, maxSequences int) []*item {
	var picked []*item
	tokens, passed := 0, 0
	for it := l.first; it != nil && len(picked) < maxSequences && tokens < maxTokens && passed < lookahead; it = it.next {
		if len(picked) > 0 && tokens+it.tokens() > maxTokens {
			passed++
			continue
		}
		picked = append(picked, it)
		tokens += it.tokens()
	}
	return picked
}

// waiting returns how long the oldest sequence has waited. The line is not empty.
func (l *line) waiting(now time.Time) time.Duration { return now.Sub(l.first.req.since) }
