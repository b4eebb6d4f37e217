package worker

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/plan"
)

// partTokens is what a part of a batch has at least, when idle cards share it.
const partTokens = 4096

// pace is how long a model's batches took on a card, by the number of bits in their number of tokens.
type pace [33]time.Duration

// took notes a batch: the slower counts at once, the faster by and by.
func (p *pace) took(tokens int, d time.Duration) {
	t := &p[bits.Len32(uint32(tokens))]
	*t = max(d, *t-(*t-d)/8)
}

// limit is how long a batch may take before the worker is taken for one that hangs: ten times
// as long as others of about its size, or long, when it is the first or, whatever those of
// workers before it took, the first of the worker, for which kernels may have to be compiled.
func (o *Options) limit(p *pace, tokens int, scored bool) time.Duration {
	if t := p[bits.Len32(uint32(tokens))]; t > 0 && scored {
		return max(o.floor, 10*t)
	}
	return o.first
}

// Score implements [model.Engine]. A batch that is large enough is divided among idle cards.
func (c *Cards) Score(m model.Model, dst []float32, seqs []model.Sequence) error {
	if len(dst) != len(seqs) {
		panic(fmt.Sprintf("worker: Score: room for %d rewards of %d sequences", len(dst), len(seqs)))
	}
	on, ok := m.(*Model)
	if !ok || on.cards != c {
		return model.OtherDevice(c, m)
	}
	defer runtime.KeepAlive(on)
	for i := range seqs {
		if err := cuda.Validate(on.net, on.longest, &seqs[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	ends := c.divide(seqs)
	errs := make([]error, len(ends))
	var all sync.WaitGroup
	begin := 0
	for i, end := range ends {
		lo := begin
		part := func() { errs[i] = c.score(on.weights, dst[lo:end], seqs[lo:end]) }
		if i == len(ends)-1 {
			part()
		} else {
			all.Go(part)
		}
		begin = end
	}
	all.Wait()
	if i := firstError(errs); i >= 0 {
		return errs[i]
	}
	return nil
}

func tokensOf(seqs []plan.Sequence) int {
	n := 0
	for i := range seqs {
		n += len(seqs[i].IDs)
	}
	return n
}

// divide returns where the parts of a batch end, of about as many tokens each: one for each
// idle card, while they are not too small. Neighbours, which often share a prompt, stay together.
func (c *Cards) divide(seqs []plan.Sequence) []int {
	idle := 0
	c.mu.Lock()
	for _, k := range c.cards {
		if k.worker() != nil && k.waiting == 0 {
			idle++
		}
	}
	c.mu.Unlock()
	left := tokensOf(seqs)
	parts := max(1, min(idle, left/partTokens))
	var ends []int
	for at := 0; parts > 1 && at < len(seqs); parts-- {
		n, want := 0, left/parts
		for ; at < len(seqs) && n+len(seqs[at].IDs)/2 < want; at++ {
			n += len(seqs[at].IDs)
		}
		left -= n
		if n > 0 && at < len(seqs) {
			ends = append(ends, at)
		}
	}
	return append(ends, len(seqs))
}

// score has a batch scored, by another worker when one dies of it or meanwhile.
func (c *Cards) score(w *weights, dst []float32, seqs []plan.Sequence) error {
	if len(seqs) == 0 {
		return nil
	}
	tokens := tokensOf(seqs)
	frame := appendScore(make([]byte, headerBytes, headerBytes+scoreBytes(seqs)), w.id, seqs)
	until := time.Now().Add(c.options.Patience)
	var k *card
	var died *diedError
	for range 2 {
		var limit time.Duration
		p, err := c.await(until, func() (*process, error) {
			if k = c.least(); k.worker() == nil {
				return nil, k.unavailable()
			}
			if c.models[w.id] == nil {
				return nil, errors.New("worker: a model that was closed is scored")
			}
			if w.paces[k] == nil {
				w.paces[k] = new(pace)
			}
			k.waiting += tokens
			limit = c.options.limit(w.paces[k], tokens, k.live.scored[w.id])
			return k.live, nil
		})
		if err != nil {
			return err
		}
		payload, took, err := p.call(kindScore, frame, nil, limit)
		if err == nil && len(payload) != 4*cuda.OutputsOf(w.net, seqs) {
			p.die(fmt.Errorf("%w: %d bytes of outputs", errProtocol, len(payload)))
			err = &diedError{errProtocol}
		}
		c.scored(k, p, w, tokens, took, err)
		if err == nil {
			outputs := make([]float32, len(payload)/4)
			takeFloats(outputs, payload)
			cuda.Rewards(w.net, w.constants, dst, seqs, outputs)
			return nil
		}
		if !errors.As(err, &died) {
			return fmt.Errorf("%s: %w", k.name(), err)
		}
		<-p.done
	}
	return c.unavailable(k, died)
}

// scored notes that a batch is with a worker no more.
func (c *Cards) scored(k *card, p *process, w *weights, tokens int, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.waiting -= tokens
	if err == nil {
		w.paces[k].took(tokens, took)
		p.scored[w.id] = true
		k.batches++
		k.tokens += uint64(tokens)
	}
}

// worker returns the card's, or nil when it has none, though that may not have been noted yet.
// Cards.mu is held.
func (k *card) worker() *process {
	if k.live == nil {
		return nil
	}
	select {
	case <-k.live.done:
		return nil
	default:
		return k.live
	}
}

// least returns the card with the least to do, among equal ones that which has done the least, and
// one that is away when all are. c.mu is held.
func (c *Cards) least() *card {
	return slices.MinFunc(c.cards, func(a, b *card) int {
		x, y := a.worker() == nil, b.worker() == nil
		switch {
		case x && y:
			return a.back.Compare(b.back)
		case x:
			return 1
		case y:
			return -1
		}
		return cmp.Or(a.waiting-b.waiting, cmp.Compare(a.tokens, b.tokens))
	})
}

// await calls f, with c.mu held, until it has a worker, or an error other than that there is
// none now, or it is too late.
func (c *Cards) await(until time.Time, f func() (*process, error)) (*process, error) {
	for {
		c.mu.Lock()
		closed, change := c.closed, c.change
		p, err := f()
		c.mu.Unlock()
		if closed {
			return nil, fmt.Errorf("worker: %w", errClosed)
		}
		if p != nil {
			return p, nil
		}
		var away *model.UnavailableError
		if !errors.As(err, &away) {
			return nil, err
		}
		late := time.NewTimer(time.Until(until))
		select {
		case <-change:
			late.Stop()
		case <-late.C:
			return nil, err
		}
	}
}

// unavailable is the error while the card has no worker. Cards.mu is held.
func (k *card) unavailable() error {
	why := k.why
	if why == nil {
		why = errors.New("its worker starts")
	}
	return &model.UnavailableError{Device: k.name(), After: k.after(), Err: why}
}

// after is about how long it takes until there is one. Cards.mu is held.
func (k *card) after() time.Duration { return max(time.Second, time.Until(k.back).Round(time.Second)) }

// unavailable is the error of what was asked of workers that died.
func (c *Cards) unavailable(k *card, died error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &model.UnavailableError{Device: k.name(), After: k.after(), Err: died}
}
