package backend

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// probeLengths are the tokens of the sequences that an engine is checked with.
var probeLengths = []int{3, 7, 16, 29, 48}

// leastProbes is how many of them there must be.
const leastProbes = 2

// makeProbes makes the sequences that an engine is checked with: token ids of the middle
// of the vocabulary, the same for the same weights.
func (e *Engine) makeProbes(s *staged) ([]item, error) {
	seed, drawn := binary.BigEndian.Uint64([]byte(s.id[len(namePrefix):][:8])), uint64(0)
	vocab := uint64(s.net.Vocab)
	low, width := vocab/4, max(1, vocab/2)
	var out []item
	for _, n := range probeLengths {
		if n = min(n, s.longest-4); n < 1 {
			continue
		}
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(low + nn.Mix(seed, drawn)%width)
			drawn++
		}
		if e.o.Kind == TEI {
			if s.tokenizer == nil {
				return nil, errors.New("tei takes text: the checkpoint has no tokenizer.json")
			}
			text := s.tokenizer.Decode(ids, true)
			if ids = encodeText(s.tokenizer, text); len(ids) > s.longest {
				continue
			}
			if _, err := textOf(s.tokenizer, &item{ids: ids}); err != nil {
				continue
			}
		}
		out = append(out, item{ids: ids})
	}
	if len(out) < leastProbes {
		return nil, errors.New("no sequences were found that the engine could be checked with")
	}
	return out, nil
}

// scoreHere returns the outputs of the probes by the CPU, of the files that the engine
// reads. The model is in memory for it.
func scoreHere(s *staged, o model.LoadOptions) ([][]float32, error) {
	ckpt, err := loader.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer ckpt.Close()
	cfg, _, err := model.Resolve(ckpt.Config, ckpt, model.Settings{Output: "0"})
	if err != nil {
		return nil, err
	}
	cpu := model.NewEngine(0)
	defer cpu.Close()
	o.DType, o.Workers = kernel.Float32, cpu.Workers()
	m, err := cpu.Load(cfg, ckpt, o)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	width := s.net.Head.Outputs()
	seqs, out := make([]plan.Sequence, len(s.probes)), make([][]float32, len(s.probes))
	for i, p := range s.probes {
		read := int32(0)
		if s.net.Causal {
			read = int32(len(p.ids) - 1)
		}
		out[i] = make([]float32, width)
		seqs[i] = plan.Sequence{IDs: p.ids, Types: p.types, Read: []int32{read}, Outputs: out[i]}
	}
	return out, cpu.Score(m, make([]float32, len(seqs)), seqs)
}

// check has the engine score the probes and holds that against what the CPU said.
func (e *Engine) check(ctx context.Context, m *Model) error {
	got, _, err := e.wire.score(ctx, &m.staged, m.probes)
	if err != nil {
		return fmt.Errorf("scoring %d sequences to check it: %w", len(m.probes), err)
	}
	for i, row := range got {
		for _, v := range row {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("it scores the %d. sequence that it is checked with as %v", i+1, v)
			}
		}
	}
	if m.expected == nil {
		return nil
	}
	sum, n, worst, at := 0.0, 0, 0.0, [2]int{}
	for i, row := range m.expected {
		for j, want := range row {
			sum, n = sum+float64(want)*float64(want), n+1
			d := math.Abs(float64(got[i][j] - want))
			if math.IsNaN(d) { // of weights that overflow here
				d = math.Inf(1)
			}
			if d > worst {
				worst, at = d, [2]int{i, j}
			}
		}
	}
	scale := math.Sqrt(sum / float64(n))
	tolerance := cmp.Or(e.o.Tolerance, 0.05)
	if !(worst <= tolerance*scale) {
		return fmt.Errorf("its scores are not this model's: %v where %v is right, %.3g of their root mean square, "+
			"at most %v is allowed (backend.tolerance): it serves another model, or reads the score head otherwise",
			got[at[0]][at[1]], m.expected[at[0]][at[1]], worst/scale, tolerance)
	}
	return nil
}
