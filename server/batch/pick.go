package batch

import "time"

// lookahead is how many waiting sequences of a lane a batch considers beyond
// those it takes: enough to find short ones, few enough to be quick.
const lookahead = 512

// sliceTokens is about what a request is given at a time. Answers to one prompt
// stay together beyond it: the engine computes their prompt once a batch.
const sliceTokens = 1024

// picking is a batch while it is put together. The queue's lock is held.
type picking struct {
	q            *Queue
	l            *line
	maxTokens    int
	maxSequences int
	batch        *work
	share        int     // which part of the batch may be filled now, 2 is half
	passed       int     // sequences that did not fit
	paused       []*flow // of which nothing fits
}

// pick takes the next batch out of a line. The oldest sequence is in it whatever
// its length, with what of its request goes with it; beyond the patience the
// oldest requests have up to half of the batch. The rest are slices of the
// requests of each client in turn. pick returns nil when nobody waits for any of
// them.
func (q *Queue) pick(l *line, now time.Time) *work {
	p := &picking{q: q, l: l, maxTokens: q.cfg.budget(l.lane), maxSequences: q.sequences(l),
		batch: &work{lane: l.lane}, share: 2}
	p.takeOldest(now)
	if len(p.batch.items) == 0 {
		return nil
	}
	p.share, p.passed = 1, 0 // what did not fit into the half may fit now
	p.takeTurns()
	return p.batch
}

// open reports whether more may be looked for.
func (p *picking) open() bool {
	return p.share*len(p.batch.items) < p.maxSequences && p.share*p.batch.tokens < p.maxTokens &&
		p.passed < lookahead
}

// take moves a sequence from the line to the batch and charges it to its
// request and client.
func (p *picking) take(it *item) {
	f := it.flow
	it.req.waiting--
	p.q.unlink(it)
	f.client.flows.charge(&f.share, it.tokens())
	p.l.clients.charge(&f.client.share, it.tokens())
	p.batch.items = append(p.batch.items, it)
	p.batch.tokens += it.tokens()
}

// takeOldest begins the batch with the oldest sequence and, where that has waited
// beyond the patience, goes on with the next oldest until half of it is full.
func (p *picking) takeOldest(now time.Time) {
	late := false
	for p.l.first != nil && (len(p.batch.items) == 0 || late && p.open()) {
		it := p.l.first
		if it.gone() {
			p.q.fail(it.req, errGone)
			continue
		}
		if len(p.batch.items) > 0 {
			if !p.slice(it.flow) {
				return
			}
			continue
		}
		late = p.l.waiting(now) > p.q.cfg.Patience
		f := it.flow
		p.take(it)
		if f.first != nil && f.first.joined {
			p.slice(f) // the others of its prompt
		}
	}
}

// takeTurns fills the batch with slices, each of the client that was given the
// least and of that client's request that was given the least.
func (p *picking) takeTurns() {
	for p.open() && p.l.clients.Len() > 0 {
		c := p.l.clients.choose().(*client)
		f := c.flows.choose().(*flow)
		switch {
		case f.first.gone():
			p.q.fail(f.first.req, errGone)
		case !p.slice(f):
			p.l.pause(f)
			p.paused = append(p.paused, f)
		}
	}
	for _, f := range p.paused {
		p.l.resume(f)
	}
}

// slice takes about sliceTokens of a request, of what fits, and reports whether
// that was anything. Answers to one prompt are taken together or, where they fit
// into half a batch but no longer into this one, not at all.
func (p *picking) slice(f *flow) bool {
	most := p.maxTokens / p.share
	given := 0
	for it := f.first; it != nil && p.open() && given < sliceTokens; {
		end, tokens := it.group(p.maxTokens)
		if p.batch.tokens+tokens > most && tokens <= p.maxTokens/2 {
			p.passed++
			it = end
			continue
		}
		for it != end && p.open() {
			next := it.behind
			if n := it.tokens(); p.batch.tokens+n <= most {
				given += n
				p.take(it)
			} else {
				p.passed++
			}
			it = next
		}
	}
	return given > 0
}
