package bestofn

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

// noisyBestOfN are measurements in which a judge's reward is the control's and
// noise of so many standard deviations.
func noisyBestOfN(members, averages float64) *measurements {
	const prompts, samples, valid, many = 12, 32, 20, 4
	m := &measurements{Samples: samples, N: []int{1, 2, 4, 8, 16, 32}, Ms: []int{2, 4}, Unseen: make([]bool, prompts), Groups: make([]string, valid), FreshGroups: make([]string, valid)}
	m.Unseen[0] = true
	for i := range prompts * samples {
		m.Control = append(m.Control, float32(labtest.Noise(1, i)))
		m.Tokens = append(m.Tokens, 10)
	}
	for i := range valid {
		m.Groups[i], m.FreshGroups[i] = string(rune('a'+i)), string(rune('a'+i/2))
	}
	judge := func(seed int, deviation float64) proxy {
		p := proxy{Valid: &lab.Scored{Chosen: make(lab.Rewards, valid), Rejected: make(lab.Rewards, valid)}}
		for i, c := range m.Control {
			p.Samples = append(p.Samples, c+float32(deviation*labtest.Noise(seed, i)))
		}
		for i := range valid {
			p.Valid.Chosen[i] = float32(1 + deviation*labtest.Noise(seed+1000, i))
		}
		p.Fresh = &lab.Scored{Chosen: p.Valid.Rejected, Rejected: p.Valid.Chosen}
		return p
	}
	control := judge(2, 0)
	m.Valid, m.Fresh = control.Valid, control.Fresh
	for k, share := range []float64{0, 0.25} {
		p := proxies{Swapped: share}
		for i := range many {
			p.Members = append(p.Members, judge(10+100*k+i, members))
		}
		for _, n := range m.Ms {
			for i, group := range rotations(many, n) {
				p.Averages = append(p.Averages, averageProxy{group, judge(50+100*k+10*n+i, averages)})
			}
		}
		m.Proxies = append(m.Proxies, p)
	}
	return m
}

func analysed(t *testing.T, m *measurements) *lab.Findings {
	text, err := json.Marshal(m)
	require.NoError(t, err)
	f, err := Experiment().Analyse(text)
	require.NoError(t, err)
	return f
}

func TestBestOfNFindsWhatWasPutIn(t *testing.T) {
	t.Run("an average with less noise is better than a member", func(t *testing.T) {
		f := analysed(t, noisyBestOfN(3, 0.1))
		require.Len(t, f.Verdicts, 8)
		for _, v := range f.Verdicts {
			assert.Equal(t, lab.Seen, v.Seen, "%s: %s", v.Claim, v.Figures)
		}
	})
	t.Run("an average with more noise is worse", func(t *testing.T) {
		for _, v := range analysed(t, noisyBestOfN(0.1, 3)).Verdicts {
			assert.Equal(t, lab.Contradicted, v.Seen, "%s: %s", v.Claim, v.Figures)
		}
	})
	t.Run("judges without noise are alike", func(t *testing.T) {
		f := analysed(t, noisyBestOfN(0, 0))
		for i, v := range f.Verdicts {
			assert.Equal(t, lab.Unclear, v.Seen, "%s: %s", v.Claim, v.Figures)
			if i%2 == 1 {
				assert.Contains(t, v.Claim, "Over N = 1 … 32, evenly in log N")
				continue
			}
			assert.Contains(t, v.Figures, "N = 32: difference +0.00 [+0.00, +0.00] standard deviations, win rate 50.0 [50.0, 50.0] %; N = 8: ")
		}
	})
}

// TestTheMeanOverLogN holds it to trapezoids by hand: from 1 to 2 a third of log 8, from 2 to 8 two.
func TestTheMeanOverLogN(t *testing.T) {
	r := &report{measurements: &measurements{N: []int{1, 2, 8}, Unseen: make([]bool, 1)}}
	of := func(gains ...float64) (c chosen) {
		for _, g := range gains {
			c.picks = append(c.picks, picked{control: []float64{g}})
		}
		return c
	}
	assert.InDelta(t, 1.0/3*0.5+2.0/3*2, r.overLogN(of(1, 3, 7), of(1, 2, 4))[0], 1e-12)
	r.N = r.N[:1]
	assert.Equal(t, []float64{2}, r.overLogN(of(3), of(1)))
}

// TestWhoKnowsWhatIsSaid has proxies and control learn from debates apart, from bases apart.
func TestWhoKnowsWhatIsSaid(t *testing.T) {
	m := noisyBestOfN(1, 1)
	f := analysed(t, m)
	assert.Contains(t, f.Notes[3], "from the same base as the proxies")
	m.Halves, m.Apart = true, true
	f = analysed(t, m)
	assert.Equal(t, []string{"control", "gold, the other debates"}, f.Tables[2].Rows[0][:2])
	assert.Equal(t, "debates that the proxies alone know (20 pairs)", f.Tables[2].Columns[2])
	assert.Contains(t, f.Notes[3], "of another base than the proxies")
}

func TestBestOfNTellsHowGoodTheControlIs(t *testing.T) {
	m := noisyBestOfN(1, 1)
	table := analysed(t, m).Tables[2]
	assert.Equal(t, []string{"control", "gold, all debates", "100.0 [100.0, 100.0]", "0.0 [0.0, 0.0]"}, table.Rows[0], "right about the known, wrong about the new")
	assert.Len(t, table.Columns, 4)
	m.FreshGroups, m.Fresh = nil, nil
	for _, p := range m.Proxies {
		for i := range p.Members {
			p.Members[i].Fresh = nil
		}
		for i := range p.Averages {
			p.Averages[i].Fresh = nil
		}
	}
	table = analysed(t, m).Tables[2]
	assert.Equal(t, []string{"control", "gold, all debates", "100.0 [100.0, 100.0]"}, table.Rows[0])
	assert.Len(t, table.Columns, 3)
}

func TestBestOfNSaysWhetherTheControlIsStronger(t *testing.T) {
	m := noisyBestOfN(3, 3)
	m.FreshGroups, m.Fresh = nil, nil
	for k := range m.Proxies {
		p := &m.Proxies[k]
		for i := range p.Members {
			p.Members[i].Fresh = nil
			if k == 1 {
				p.Members[i].Valid = m.Valid
			}
		}
		for i := range p.Averages {
			p.Averages[i].Fresh = nil
		}
	}
	notes := analysed(t, m).Notes
	assert.Regexp(t, `^On the 20 pairs .* with clean labels by \+.*: the control is a better judge\.$`, notes[0])
	assert.Regexp(t, `with 25 % of labels swapped by \+0\.00 \[\+0\.00, \+0\.00\] points: the control is not shown to be a better judge`, notes[1])
}

func TestBestOfNFiguresAreDrawn(t *testing.T) {
	f := analysed(t, noisyBestOfN(1, 0.5))
	require.Len(t, f.Figures, 6)
	for _, figure := range f.Figures {
		_, err := figure.Draw("svg")
		require.NoError(t, err, figure.Name)
		assert.Zero(t, figure.Series[0].X[0], "the best of one is the policy")
		for _, s := range figure.Series {
			assert.InDelta(t, 0, s.Y[0], 1e-9, "%s: a random sample gains nothing", s.Label)
		}
	}
}

func TestBestOfNOfItselfIsTheLargestOrderStatistic(t *testing.T) {
	// A judge that agrees with the control gains the expectation of the maximum.
	m := noisyBestOfN(0, 0)
	control := gains(m.Control.Values(), m.Samples)
	for _, y := range analysed(t, m).Figures[0].Series {
		mean := 0.0
		for p := range m.Unseen {
			best := math.Inf(-1)
			for _, v := range control[p*m.Samples:][:m.Samples] {
				best = max(best, v)
			}
			mean += best / float64(len(m.Unseen))
		}
		assert.InDelta(t, mean, y.Y[len(y.Y)-1], 1e-9, y.Label)
	}
}

func TestBestOfNRefusesDamagedMeasurements(t *testing.T) {
	for name, damage := range map[string]func(m *measurements){
		"a reward is missing":             func(m *measurements) { m.Control = m.Control[1:] },
		"a member's reward is missing":    func(m *measurements) { m.Proxies[0].Members[1].Samples = nil },
		"a member has not judged":         func(m *measurements) { m.Proxies[0].Members[1].Valid = nil },
		"an average is of no member":      func(m *measurements) { m.Proxies[1].Averages[0].Of[0] = 99 },
		"an average is missing":           func(m *measurements) { m.Proxies[1].Averages = m.Proxies[1].Averages[:1] },
		"more are compared than sampled":  func(m *measurements) { m.N = append(m.N, 1000) },
		"numbers fall":                    func(m *measurements) { m.N[1] = m.N[0] },
		"nothing was measured":            func(m *measurements) { *m = measurements{} },
		"a judge left pairs out":          func(m *measurements) { m.Proxies[0].Averages[1].Fresh = nil },
		"the control has not judged":      func(m *measurements) { m.Valid = nil },
		"a reward is not a finite number": func(m *measurements) { m.Proxies[0].Members[0].Samples[3] = float32(math.NaN()) },
	} {
		t.Run(name, func(t *testing.T) {
			m := noisyBestOfN(1, 1)
			damage(m)
			text, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = Experiment().Analyse(text)
			assert.Error(t, err)
		})
	}
}
