package optim

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/nn"
)

func shared(t testing.TB, path string) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	path = filepath.Join(dir, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference values (set WARM_SHARED): %v", err)
	}
	return path
}

func param(name string, shape []int, data []float32) nn.Param {
	return nn.Param{Name: name, Shape: shape, Data: data, Grad: make([]float32, len(data))}
}

func newWork(t testing.TB, workers int) *cpu.Work {
	w := cpu.NewWork(workers)
	t.Cleanup(w.Close)
	return w
}

func TestAdamWEqualsTorch(t *testing.T) {
	data, err := os.ReadFile(shared(t, "goldens/adamw-unit.json"))
	require.NoError(t, err)
	var g struct {
		W0    []float32   `json:"w0"`
		Grads [][]float32 `json:"grads"`
		Cases []struct {
			LR    float64     `json:"lr"`
			Betas [2]float64  `json:"betas"`
			Eps   float64     `json:"eps"`
			Decay float64     `json:"weight_decay"`
			Want  [][]float32 `json:"w_f32"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(data, &g))
	require.Len(t, g.Cases, 3)
	start := g.W0
	for _, c := range g.Cases {
		// The reference's runs share their start weights' memory: each float32
		// run begins where the one before has ended.
		p := param("w", []int{len(g.W0)}, append([]float32(nil), start...))
		o := NewAdamW(AdamWConfig{Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: c.Eps, Decay: c.Decay, DecayVectors: true}, []nn.Param{p})
		w := newWork(t, 1)
		for step, grad := range g.Grads {
			copy(p.Grad, grad)
			o.Step(w, c.LR)
			for i, want := range c.Want[step] {
				// Ten roundings of weights of about 1 in either.
				assert.InDelta(t, want, p.Data[i], 5e-7, "lr %v, step %d, weight %d", c.LR, step, i)
			}
		}
		start = c.Want[len(c.Want)-1]
	}
}

func TestDecayLeavesVectorsAloneUnlessAsked(t *testing.T) {
	for _, vectors := range []bool{false, true} {
		p := []nn.Param{param("m", []int{1, 1}, []float32{1}), param("v", []int{1}, []float32{1})}
		o := NewAdamW(AdamWConfig{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: 0.5, DecayVectors: vectors}, p)
		o.Step(newWork(t, 1), 0.1)
		assert.InDelta(t, 0.95, p[0].Data[0], 1e-7)
		want := 1.0
		if vectors {
			want = 0.95
		}
		assert.InDelta(t, want, p[1].Data[0], 1e-7)
	}
}

func TestStepsHaveTheSameBitsForAnyNumberOfWorkers(t *testing.T) {
	run := func(workers int) ([]float32, float64) {
		p := param("w", []int{300, 401}, make([]float32, 300*401))
		for i := range p.Data {
			p.Data[i] = float32(math.Sin(float64(i)))
		}
		o := NewAdamW(DefaultAdamW(), []nn.Param{p})
		w := newWork(t, workers)
		norm := 0.0
		for s := range 3 {
			for i := range p.Grad {
				p.Grad[i] = float32(math.Cos(float64(i * (s + 1))))
			}
			norm = Clip(w, []nn.Param{p}, 1)
			o.Step(w, 1e-2)
		}
		return p.Data, norm
	}
	one, normOne := run(1)
	three, normThree := run(3)
	assert.Equal(t, one, three)
	assert.Equal(t, normOne, normThree)
}

func TestClipScalesToTheLimit(t *testing.T) {
	p := []nn.Param{param("a", []int{2}, make([]float32, 2)), param("b", []int{1}, make([]float32, 1))}
	w := newWork(t, 1)
	copy(p[0].Grad, []float32{3, 0})
	p[1].Grad[0] = 4
	assert.InDelta(t, 5, Clip(w, p, 1), 1e-6)
	assert.InDelta(t, 1, Norm(w, p), 1e-6)
	assert.InDelta(t, 0.6, p[0].Grad[0], 1e-6)
	assert.InDelta(t, 1, Clip(w, p, 2), 1e-6)
	assert.InDelta(t, 0.6, p[0].Grad[0], 1e-6, "below the limit nothing changes")
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		name                string
		s                   Schedule
		step, warmup, total int
		want                float64
	}{
		{"the first step of a warm-up is not at zero", Linear, 0, 4, 10, 0.2},
		{"the last step of a warm-up is below the peak", Linear, 3, 4, 10, 0.8},
		{"the peak follows", Linear, 4, 4, 10, 1},
		{"linear falls", Linear, 7, 4, 10, 0.5},
		{"cosine falls", Cosine, 5, 0, 10, 0.5},
		{"constant stays", Constant, 9, 0, 10, 1},
		{"past the end linear is zero", Linear, 12, 0, 10, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.InDelta(t, c.want, c.s.Factor(c.step, c.warmup, c.total), 1e-12)
		})
	}
	_, err := ParseSchedule("exponential")
	assert.Error(t, err)
}

func TestEMAFollowsTheWeights(t *testing.T) {
	p := []nn.Param{param("w", []int{1}, []float32{1})}
	e, err := NewEMA(0.5, p)
	require.NoError(t, err)
	w := newWork(t, 1)
	p[0].Data[0] = 2
	e.Update(w)
	e.Update(w)
	require.NoError(t, e.State(func(name string, _ []int, v []float32) error {
		assert.Equal(t, "w", name)
		assert.Equal(t, []float32{1.75}, v)
		return nil
	}))
	_, err = NewEMA(1, p)
	assert.Error(t, err)
}

func TestStateIsComplete(t *testing.T) {
	p := []nn.Param{param("w", []int{2}, []float32{1, 2})}
	w := newWork(t, 1)
	step := func(o *AdamW) {
		copy(p[0].Grad, []float32{0.5, -3})
		o.Step(w, 0.1)
	}
	a := NewAdamW(DefaultAdamW(), p)
	step(a)
	saved := map[string][]float32{}
	require.NoError(t, a.State(func(name string, _ []int, v []float32) error {
		saved[name] = append([]float32(nil), v...)
		return nil
	}))
	at := append([]float32(nil), p[0].Data...)
	step(a)
	want := append([]float32(nil), p[0].Data...)

	copy(p[0].Data, at)
	b := NewAdamW(DefaultAdamW(), p)
	b.Steps = 1
	require.NoError(t, b.State(func(name string, _ []int, v []float32) error {
		copy(v, saved[name])
		return nil
	}))
	step(b)
	assert.Equal(t, want, p[0].Data)
}

func TestBadSettingsAreAllReported(t *testing.T) {
	assert.Len(t, AdamWConfig{Beta1: 1, Beta2: -1, Eps: 0, Decay: -1}.Validate(), 4)
	assert.Empty(t, DefaultAdamW().Validate())
}

func BenchmarkAdamW(b *testing.B) {
	p := param("w", []int{1 << 22}, make([]float32, 1<<22))
	for i := range p.Grad {
		p.Grad[i] = float32(i%7) - 3
	}
	o := NewAdamW(DefaultAdamW(), []nn.Param{p})
	w := newWork(b, 1)
	for b.Loop() {
		o.Step(w, 1e-3)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(p.Data)), "ns/weight")
}

// adafactor64 is algorithm 4 in float64 for one matrix, step by step.
func adafactor64(w, r, c []float64, g []float32, n, m, t int, lr float64) {
	rest := math.Pow(float64(t), -0.8)
	row, col := make([]float64, n), make([]float64, m)
	for i := range n {
		for j := range m {
			s := float64(g[i*m+j])*float64(g[i*m+j]) + 1e-30
			row[i] += s / float64(m)
			col[j] += s / float64(n)
		}
	}
	mean := 0.0
	for i := range n {
		r[i] = (1-rest)*r[i] + rest*row[i]
		mean += r[i] / float64(n)
	}
	for j := range m {
		c[j] = (1-rest)*c[j] + rest*col[j]
	}
	u, square := make([]float64, n*m), 0.0
	for i := range n {
		for j := range m {
			u[i*m+j] = float64(g[i*m+j]) / math.Sqrt(r[i]*c[j]/mean)
			square += u[i*m+j] * u[i*m+j] / float64(n*m)
		}
	}
	for k := range u {
		w[k] = w[k]*(1-lr*0.1) - lr*u[k]/max(1, math.Sqrt(square))
	}
}

func TestAdafactorEqualsItsAlgorithm(t *testing.T) {
	const n, m = 5, 70
	for _, workers := range []int{1, 3} {
		p := param("w", []int{n, m}, make([]float32, n*m))
		want, r, c := make([]float64, n*m), make([]float64, n), make([]float64, m)
		for i := range p.Data {
			p.Data[i] = float32(math.Sin(float64(i)))
			want[i] = float64(p.Data[i])
		}
		config := DefaultAdafactor()
		config.Decay = 0.1
		o := NewAdafactor(config, []nn.Param{p})
		w := newWork(t, workers)
		for step := 1; step <= 6; step++ {
			for i := range p.Grad {
				p.Grad[i] = float32(math.Cos(float64(i*step))) * float32(1+i%3)
			}
			o.Step(w, 0.01)
			adafactor64(want, r, c, p.Grad, n, m, step, 0.01)
			for i, v := range want {
				require.InDelta(t, v, p.Data[i], 2e-6, "step %d, weight %d", step, i) // six roundings of 1 and of steps of lr
			}
		}
	}
}

func TestAdafactorOfAVectorNormalisesEachElement(t *testing.T) {
	p := param("b", []int{2}, []float32{1, 1})
	o := NewAdafactor(DefaultAdafactor(), []nn.Param{p})
	copy(p.Grad, []float32{4, -0.5})
	o.Step(newWork(t, 1), 0.1)
	assert.InDeltaSlice(t, []float64{0.9, 1.1}, []float64{float64(p.Data[0]), float64(p.Data[1])}, 1e-6)
	n := 0
	require.NoError(t, o.State(func(string, []int, []float32) error { n++; return nil }))
	assert.Equal(t, 1, n)
}
