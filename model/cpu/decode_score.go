package cpu

import (
	"context"
	"fmt"
)

// scoredRows is about how many tokens LogProbs carries through the model at once.
const scoredRows = 4096

// LogProbs returns the log-probability of every token of every answer under
// softmax(logits/temperature). As for Decode, answer i belongs to prompt
// i/(answers/prompts), and each prompt is computed once.
func (d *Decoder) LogProbs(ctx context.Context, prompts, answers [][]int32,
	temperature float32) ([][]float64, error) {
	if len(prompts) == 0 || len(answers)%len(prompts) != 0 || !(temperature > 0) {
		return nil, fmt.Errorf("cpu: %d answers to %d prompts at temperature %v", len(answers),
			len(prompts), temperature)
	}
	group := len(answers) / len(prompts)
	for i, a := range answers {
		ids := append(append([]int32(nil), prompts[i/group]...), a...)
		if err := d.m.Validate(whole(ids)); err != nil {
			return nil, fmt.Errorf("answer %d: %w", i, err)
		}
		if err := d.fixed(len(ids)); err != nil {
			return nil, fmt.Errorf("answer %d: %w", i, err)
		}
		if len(prompts[i/group]) == 0 {
			return nil, fmt.Errorf("answer %d: no token before it", i)
		}
	}
	out := make([][]float64, len(answers))
	for lo := 0; lo < len(prompts); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hi, rows := lo, 0
		for hi < len(prompts) {
			n := len(prompts[hi])
			for _, a := range answers[hi*group : (hi+1)*group] {
				n += len(a)
			}
			if hi > lo && rows+n > scoredRows {
				break
			}
			rows += n
			hi++
		}
		d.reserve(rows)
		d.score(out[lo*group:hi*group], prompts[lo:hi], answers[lo*group:hi*group], temperature)
		lo = hi
	}
	return out, nil
}

// score computes the log-probabilities of some prompts' answers.
func (d *Decoder) score(out [][]float64, prompts, answers [][]int32, temperature float32) {
	group := len(answers) / len(prompts)
	d.begin()
	next := 0
	first := make([]int, len(prompts)) // row of each prompt
	for i, p := range prompts {
		first[i] = next
		if n := len(p) - 1; n > 0 {
			d.add(p[:n], next, 0, -1, 0)
			next += n
		}
	}
	d.forward(false)
	d.begin()
	type target struct{ answer, token int }
	var targets []target
	r := d.run
	for i, p := range prompts {
		span, n := -1, len(p)-1
		if n > 0 {
			span = len(r.spans)
			r.spans = append(r.spans, Span{Row: first[i], Len: n, Prefix: -1})
		}
		for k := i * group; k < (i+1)*group; k++ {
			a := answers[k]
			out[k] = make([]float64, len(a))
			if len(a) == 0 {
				continue
			}
			d.add(append([]int32{p[n]}, a[:len(a)-1]...), next, 0, span, n)
			next += len(a)
			for j := range a {
				targets = append(targets, target{k, j})
			}
		}
	}
	d.forward(true)
	d.each(len(targets), func(w *Scratch, i int, logits []float32) {
		t := targets[i]
		c := NewCategorical(w.Rows(len(logits)), logits, temperature)
		out[t.answer][t.token] = c.LogProb(answers[t.answer][t.token])
	})
}
