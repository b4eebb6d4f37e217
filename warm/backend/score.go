package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/plan"
)

const (
	// mostItems bounds the sequences of one request, where the engine does not.
	mostItems = 256
	// mostRequests bounds the requests of one batch that are under way.
	mostRequests = 4
	// mostRefused is how many sequences of a batch an engine may refuse before it is
	// the engine that is at fault.
	mostRefused = 16
	// away is about how long an engine that does not answer needs.
	away = 5 * time.Second
)

// Score implements [model.Engine]. A sequence that the engine refuses, alone, has the
// reward NaN; the others have theirs. Several batches may be scored at once.
func (e *Engine) Score(m model.Model, dst []float32, seqs []model.Sequence) error {
	if len(dst) != len(seqs) {
		panic(fmt.Sprintf("backend: Score: room for %d rewards of %d sequences", len(dst), len(seqs)))
	}
	on, err := e.own(m)
	if err != nil {
		return err
	}
	if err := on.usable(); err != nil {
		return err
	}
	for i := range seqs {
		if err := plan.Validate(on.net, &seqs[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		if seqs[i].Every {
			return fmt.Errorf("sequence %d: %s gives no outputs after every token", i, e.Device())
		}
	}
	items, rows := itemsOf(on, seqs)
	ctx, cancel := context.WithTimeout(on.ctx, e.times.score)
	defer cancel()
	outputs, err := (&batch{engine: e, model: on}).score(ctx, items)
	if err != nil {
		if on.ctx.Err() != nil {
			return errClosed
		}
		on.setTrouble(err) // until the watch finds that it is over
		on.wake()
		return &model.UnavailableError{Device: e.Device(), After: away, Err: err}
	}
	rewardsOf(on, dst, seqs, outputs, rows)
	return nil
}

// itemsOf returns the different items of sequences, and for each read token of each
// sequence, one behind the other, which it is.
func itemsOf(m *Model, seqs []model.Sequence) (items []item, rows []int) {
	seen := map[string]int{}
	var key []byte
	for i := range seqs {
		s := &seqs[i]
		for _, at := range s.Read {
			it := item{ids: s.IDs}
			if m.net.Causal {
				it.ids = s.IDs[:at+1]
			} else if slices.ContainsFunc(s.Types, func(t int32) bool { return t != 0 }) {
				it.types = s.Types
			}
			key = key[:0]
			for _, list := range [][]int32{it.ids, it.types} {
				for _, v := range list {
					key = append(key, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
				}
				key = append(key, 0xff, 0xff, 0xff, 0xff) // no id
			}
			k, ok := seen[string(key)]
			if !ok {
				k = len(items)
				seen[string(key)] = k
				items = append(items, it)
			}
			rows = append(rows, k)
		}
	}
	return items, rows
}

// rewardsOf makes rewards of outputs.
func rewardsOf(m *Model, dst []float32, seqs []model.Sequence, outputs [][]float32, rows []int) {
	head := m.net.Head
	var own []float32
	for i := range seqs {
		own = own[:0]
		for range seqs[i].Read {
			for j, v := range outputs[rows[0]] {
				if m.bias != nil {
					v += m.bias[j]
				}
				own = append(own, v)
			}
			rows = rows[1:]
		}
		copy(seqs[i].Outputs, own)
		if head.Readout == nil {
			dst[i] = own[0]
		} else {
			dst[i] = head.Readout.Reward(own, nil)
		}
	}
}

// batch is one call of Score.
type batch struct {
	engine *Engine
	model  *Model
	mu     sync.Mutex
	refuse int // sequences that the engine refused
}

// score returns the outputs of items, in requests of as many as the engine takes.
func (b *batch) score(ctx context.Context, items []item) ([][]float32, error) {
	size := mostItems
	if n, ok := b.engine.wire.(interface{ mostItems() int }); ok && n.mostItems() > 0 {
		size = min(size, n.mostItems())
	}
	out := make([][]float32, len(items))
	errs := make([]error, (len(items)+size-1)/size)
	var all sync.WaitGroup
	room := make(chan struct{}, mostRequests)
	for at := 0; at < len(items); at += size {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			var got [][]float32
			got, errs[at/size] = b.some(ctx, items[at:min(at+size, len(items))])
			copy(out[at:], got)
		})
	}
	all.Wait()
	return out, cmp.Or(errs...)
}

// some returns the outputs of the items of one request. Where the engine refuses it they
// are asked for in halves, until the one that is at fault is alone.
func (b *batch) some(ctx context.Context, items []item) ([][]float32, error) {
	got, err := b.patiently(ctx, items)
	switch {
	case err == nil:
		return got, nil
	case !errors.Is(err, errItem):
		return nil, err
	case len(items) > 1:
		first, err := b.some(ctx, items[:len(items)/2])
		if err != nil {
			return nil, err
		}
		rest, err := b.some(ctx, items[len(items)/2:])
		if err != nil {
			return nil, err
		}
		return append(first, rest...), nil
	}
	return b.refused(ctx, items[0], err)
}

// refused is the outputs of an item that the engine refuses, unless it refuses others too.
func (b *batch) refused(ctx context.Context, it item, why error) ([][]float32, error) {
	b.mu.Lock()
	b.refuse++
	many := b.refuse > mostRefused
	b.mu.Unlock()
	if many {
		return nil, fmt.Errorf("it refuses one sequence after the other: %w", why)
	}
	if _, err := b.patiently(ctx, b.model.probes[:1]); err != nil {
		return nil, fmt.Errorf("it refuses what it scored before: %w", err)
	}
	b.engine.log.Error("the engine refuses a sequence, whose reward is NaN", "engine", b.engine.Device(),
		"tokens", len(it.ids), "error", why.Error())
	return [][]float32{slices.Repeat([]float32{float32(math.NaN())}, b.model.net.Head.Outputs())}, nil
}

// patiently is one request, again a little later where nobody answers it.
func (b *batch) patiently(ctx context.Context, items []item) ([][]float32, error) {
	e := b.engine
	pause, until := e.times.pause, time.Now().Add(e.times.patience)
	for {
		got, err := b.once(ctx, items)
		if errors.Is(err, errReply) { // as of a NaN, which is no JSON
			err = fmt.Errorf("%w: %w", errItem, err)
		}
		if err == nil || ctx.Err() != nil || !errors.Is(err, errAway) || time.Now().Add(pause).After(until) {
			return got, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		pause *= 2
	}
}

// once is one request, which counts only if the engine served the model's weights.
func (b *batch) once(ctx context.Context, items []item) ([][]float32, error) {
	e, m := b.engine, b.model
	if err := m.usable(); err != nil {
		return nil, err
	}
	loads, why := m.lost()
	if why != nil {
		return nil, why
	}
	got, name, err := e.wire.score(ctx, &m.staged, items)
	if err != nil {
		return nil, err
	}
	if name == "" {
		st, err := e.state(ctx)
		if err != nil {
			return nil, err
		}
		name = st.name
	}
	if again, _ := m.lost(); again != loads {
		return nil, fmt.Errorf("%w: it was given its weights again meanwhile", errAway)
	}
	if name != m.id {
		return nil, fmt.Errorf("it serves %q in the place of %s", name, m.id)
	}
	return got, nil
}

// lost is why the weights are known not to be the engine's, nil when they may be, and how
// often it was made to load them.
func (m *Model) lost() (loads int, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads, m.trouble
}
