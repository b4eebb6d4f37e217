package lab

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
)

// Margins scores a model on sets: chosen − rejected of each pair. The difference
// of two float32 is rounded once; its sign is exact.
func (l *Lab) Margins(ctx context.Context, m Model, sets ...*Set) ([]Rewards, error) {
	out := make([]Rewards, len(sets))
	for i, s := range sets {
		scored, err := l.Score(ctx, m, s)
		if err != nil {
			return nil, err
		}
		out[i] = make(Rewards, len(s.Pairs))
		for j, c := range scored.Chosen {
			out[i][j] = c - scored.Rejected[j]
		}
	}
	return out, nil
}

// Values returns the rewards as float64.
func (r Rewards) Values() []float64 {
	out := make([]float64, len(r))
	for i, v := range r {
		out[i] = float64(v)
	}
	return out
}

// Model says what is scored: checkpoints averaged,
// θ = θ₀ + α·(Σ wᵢ θᵢ − θ₀) as warm.NewAverage has it. One member is that member.
type Model struct {
	Members []string  `json:"members"`           // checkpoint directories
	Weights []float64 `json:"weights,omitempty"` // nil for equal ones
	Base    string    `json:"base,omitempty"`    // θ₀, wanted unless Alpha is 1
	Alpha   *float64  `json:"alpha,omitempty"`   // nil is 1
}

// Rewards are rewards in JSON's smallest exact form: base64 of little-endian
// float32.
type Rewards []float32

// MarshalText implements encoding.TextMarshaler.
func (r Rewards) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 4*len(r))
	for _, v := range r {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rewards) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	if len(b)%4 != 0 {
		return fmt.Errorf("rewards: %d bytes, want a multiple of 4", len(b))
	}
	*r = make(Rewards, len(b)/4)
	for i := range *r {
		(*r)[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}

// Scored are the rewards of a set's pairs.
type Scored struct {
	Chosen   Rewards `json:"chosen"`
	Rejected Rewards `json:"rejected"`
}

// Margins returns chosen − rejected of each pair.
func (s Scored) Margins() []float64 {
	out := make([]float64, len(s.Chosen))
	for i, c := range s.Chosen {
		out[i] = float64(c) - float64(s.Rejected[i])
	}
	return out
}

// Score returns the rewards that a model gives the pairs of a set, from
// DIR/scores when they were computed before.
func (l *Lab) Score(ctx context.Context, m Model, s *Set) (*Scored, error) {
	content, err := l.Contents(m)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", s.Name, err)
	}
	id, err := Fingerprint([]any{content, s.Hash})
	if err != nil {
		return nil, err
	}
	fits := func(v *Scored) bool {
		return v != nil && len(v.Chosen) == len(s.Pairs) && len(v.Rejected) == len(s.Pairs)
	}
	return Stored(l, id, fits, func() (*Scored, error) {
		texts := make([]reward.Input, 0, 2*len(s.Pairs))
		for _, p := range s.Pairs {
			texts = append(texts, input(p.Prompt, p.Chosen), input(p.Prompt, p.Rejected))
		}
		rewards, err := l.Rewards(ctx, m, texts)
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", s.Name, err)
		}
		out := &Scored{}
		for i := range s.Pairs {
			out.Chosen = append(out.Chosen, rewards[2*i])
			out.Rejected = append(out.Rejected, rewards[2*i+1])
		}
		return out, nil
	})
}

// input is how a pair's answer is read, in training as in serving.
func input(prompt, answer data.Text) reward.Input {
	return reward.Input{Prompt: &prompt.Plain, Response: answer.Plain}
}

// Rewards scores texts with a model.
func (l *Lab) Rewards(ctx context.Context, m Model, texts []reward.Input) ([]float32, error) {
	average, done, err := warm.Open(loader.Open, m.Members, m.Weights, m.Base, warm.Options{Alpha: m.Alpha, Extrapolate: true})
	if err != nil {
		return nil, err
	}
	defer done()
	config, _, err := reward.Resolve(m.Members[0], average.Config(), average, reward.Config{})
	if err != nil {
		return nil, err
	}
	net, err := l.engine.Load(config, average, model.LoadOptions{Workers: l.Workers})
	if err != nil {
		return nil, err
	}
	defer net.Close()
	first, err := loader.Open(m.Members[0])
	if err != nil {
		return nil, err
	}
	defer first.Close()
	encoder, err := reward.NewEncoder(first, config, reward.Config{})
	if err != nil {
		return nil, err
	}
	const batch = 128
	out := make([]float32, len(texts))
	for at := 0; at < len(texts); at += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var seqs []model.Sequence
		for i := at; i < min(at+batch, len(texts)); i++ {
			e, err := encoder.Encode(texts[i], reward.EncodeOptions{})
			if err != nil {
				return nil, fmt.Errorf("text %d: %w", i, err)
			}
			seqs = append(seqs, e.Sequence)
		}
		if err := l.engine.Score(net, out[at:at+len(seqs)], seqs); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Revision names the weight average of checkpoints as a server of them does.
func (l *Lab) Revision(ctx context.Context, dirs []string) (string, error) {
	c := reward.Config{Engine: l.engine}
	for _, dir := range dirs {
		c.Members = append(c.Members, reward.Member{Dir: dir})
	}
	d, err := reward.Open(ctx, c, l.Workers)
	if err != nil {
		return "", err
	}
	defer d.Close()
	return d.Revision, nil
}

// Contents is the model with the hashes of its checkpoints in place of their
// paths.
func (l *Lab) Contents(m Model) (Model, error) {
	m.Members = slices.Clone(m.Members)
	paths := []*string{&m.Base}
	for i := range m.Members {
		paths = append(paths, &m.Members[i])
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		h, err := l.CheckpointHash(*p)
		if err != nil {
			return m, err
		}
		*p = h
	}
	return m, nil
}
