package live

import (
	"cmp"
	"fmt"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
)

// single is a Model of one scorer, which is itself.
type single struct {
	info    Info
	prepare func(in *api.Input, o PrepareOptions) ([]Prepared, error)
	score   func(dst []float32, seqs []batch.Sequence) error
	lane    *batch.Lane
}

// NewModel returns a model of two functions: prepare as [Model] has it, and score
// as [batch.Scorer] does. It has no ensemble: whatever info says of modes and
// members, it serves the mode wa. Of info it needs the name, a revision, which
// says when rewards change, and the context length.
func NewModel(
	info Info,
	prepare func(in *api.Input, o PrepareOptions) ([]Prepared, error),
	score func(dst []float32, seqs []batch.Sequence) error,
) Model {
	info.Mode, info.Modes, info.Members = api.ModeWA, []string{api.ModeWA}, nil
	info.Created = cmp.Or(info.Created, time.Now().Unix())
	m := &single{info: info, prepare: prepare, score: score}
	m.lane = batch.NewLane(info.ID+"/"+api.ModeWA, m)
	return m
}

func (m *single) Info() Info { return m.info }

func (m *single) Prepare(in *api.Input, o PrepareOptions) ([]Prepared, error) {
	return m.prepare(in, o)
}

func (m *single) Lane(string) (*batch.Lane, error) { return m.lane, nil }

func (m *single) Score(dst []float32, seqs []batch.Sequence) error { return m.score(dst, seqs) }

// Aggregate is never called: no mode has an ensemble.
func (m *single) Aggregate([]float32, string, float64) (reward, std float64, err error) {
	return 0, 0, fmt.Errorf("live: model %q has no ensemble", m.info.ID)
}
