package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
)

// probe scores a few inputs with every lane of a model that is not live yet: a
// model that answers NaN, an error or a panic never meets a request.
func (cs *Changes) probe(ctx context.Context, name string, m Model) error {
	info := m.Info()
	if err := info.check(); err != nil {
		return err
	}
	if info.ID != name {
		return fmt.Errorf("the builder made a model called %q of %q", info.ID, name)
	}
	inputs, err := probes(m, info.ContextLength)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	for _, lane := range info.Lanes() {
		rewards, err := cs.rewards(ctx, m, lane, inputs)
		if err != nil {
			return fmt.Errorf("probe of %s: %w", lane, err)
		}
		for _, r := range rewards {
			if !finite(r) {
				return fmt.Errorf("probe of %s: the reward is %v", lane, r)
			}
		}
	}
	return nil
}

// probes are what a model is probed with: tokens, unless it scores those of texts alone, and a
// text, where it reads any.
func probes(m Model, context int) (inputs []api.Input, err error) {
	textual := false
	if t, ok := m.(Textual); ok {
		textual = t.Textual()
	}
	if !textual {
		var wanted []int32 // without which there is nothing to read
		if p, ok := m.(Prober); ok {
			wanted = p.ProbeTokens()
		}
		short := wanted
		if len(short) == 0 {
			short = []int32{0}
		}
		inputs = append(inputs, api.Tokens(short...))
		if n := min(context, 16) - len(wanted); n > 0 && context > 1 {
			inputs = append(inputs, api.Tokens(slices.Concat(slices.Repeat([]int32{0}, n), wanted)...))
		}
	}
	// Not every model reads text: one that refuses it as a client's mistake may.
	text := api.Answers("What is the capital of France?", "Paris.")
	if _, err := m.Prepare(&text, prepareDefaults); err == nil {
		inputs = append(inputs, text)
	} else if _, ok := errors.AsType[*api.Error](err); !ok || textual {
		return nil, err
	}
	return inputs, nil
}

// prepareDefaults are the options of a request that says nothing.
var prepareDefaults = PrepareOptions{Truncate: api.TruncatePromptLeft, ParseSpecial: true}

// rewards scores inputs with one lane of a model, in the queue with everyone's
// requests, as scorers may share an engine. While the queue is full it waits.
func (cs *Changes) rewards(ctx context.Context, m Model, lane string, inputs []api.Input) ([]float32, error) {
	const pause = 50 * time.Millisecond
	var seqs []batch.Sequence
	for i := range inputs {
		prepared, err := m.Prepare(&inputs[i], prepareDefaults)
		if err != nil {
			return nil, err
		}
		for _, p := range prepared {
			seqs = append(seqs, p.Sequence)
		}
	}
	to, err := m.Lane(lane)
	if err != nil {
		return nil, err
	}
	for {
		rewards, _, err := cs.queue.Submit(ctx, to, seqs)
		if !errors.Is(err, batch.ErrOverloaded) {
			return rewards, err
		}
		if err := wait(ctx, time.After(pause)); err != nil {
			return nil, err
		}
	}
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
