package rl

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/rl"
)

// diverging are measurements with a second control, whose gains are those of the first turned
// around, and the KL of checkpoints, by kind, that of seed 2 twice as large.
func diverging(courses map[string]course, kls map[string][]float64) *measurements {
	m := coursed(courses)
	turned := func(r lab.Rewards) lab.Rewards {
		out := make(lab.Rewards, len(r))
		for i, v := range r {
			out[i] = -v
		}
		return out
	}
	m.Start.Second = turned(m.Start.Control)
	for i := range m.Runs {
		run := &m.Runs[i]
		run.Algorithm = rl.GRPO
		for k := range run.Judged {
			j := &run.Judged[k]
			j.Second = turned(j.Control)
			for range j.Control {
				j.KL = append(j.KL, float32(kls[run.Kind][k]*float64(run.Seed)))
			}
		}
	}
	return m
}

func verdictOf(t *testing.T, f *lab.Findings, part string) lab.Verdict {
	for _, v := range f.Verdicts {
		if strings.Contains(v.Claim, part) {
			return v
		}
	}
	require.Fail(t, "no verdict", part)
	return lab.Verdict{}
}

func TestAtEqualKLCheckpointsAreMixed(t *testing.T) {
	kls := []float64{0, 2, 1, 5}
	for kl, want := range map[float64]mixture{0: {0, 1, 0}, 1: {0, 1, 0.5}, 2: {0, 1, 1}, 3: {2, 3, 0.5}, 5: {2, 3, 1}} {
		got, ok := passing(kls, kl)
		assert.True(t, ok, kl)
		assert.Equal(t, want, got, "at %v nats, passed for the first time", kl)
	}
	_, ok := passing(kls, 5.1)
	assert.False(t, ok)
	_, ok = passing([]float64{0, -1}, 0)
	assert.False(t, ok, "a run that never left")
}

// TestWAWinsAtEqualKL has WA gain as much as the single reward model after each step, at half of the KL.
func TestWAWinsAtEqualKL(t *testing.T) {
	same := course{control: []float64{2, 4, 8}, own: []float64{2, 4, 8}}
	all := map[string]course{contest.KindSingle: same, contest.KindENS: same, contest.KindWA: same}
	f := analysedRL(t, diverging(all, map[string][]float64{contest.KindSingle: {2, 4, 8}, contest.KindENS: {2, 4, 8}, contest.KindWA: {1, 2, 4}}))
	at := verdictOf(t, f, "judged by the control (the paper: 79.4 %)")
	assert.Equal(t, lab.Seen, at.Seen, at.Figures)
	// The largest KL of both is 4 for seed 1 and 8 for seed 2.
	assert.Contains(t, at.Figures, "at a KL of 6.00 nats: 100.0 [100.0, 100.0] %, at 3.00 nats: ")
	second := verdictOf(t, f, "judged by a second control")
	assert.Equal(t, lab.Contradicted, second.Seen, "it says the opposite")
	assert.Equal(t, lab.Unclear, f.Verdicts[0].Seen, "at equal steps they are equal")
	assert.Contains(t, f.Verdicts[0].Figures, "ten thousand times as many seeds would not decide it")
	assert.Contains(t, fmt.Sprint(f.Tables[len(f.Tables)-2].Rows), "grpo, 0.01 the control 6.00")
	for _, figure := range f.Figures {
		_, err := figure.Draw("svg")
		require.NoError(t, err, figure.Name)
	}
	assert.Contains(t, fmt.Sprint(f.Figures), "second control's reward")
}

// TestTheMixtureIsOfAnswers holds a win rate between checkpoints to what it is by hand.
func TestTheMixtureIsOfAnswers(t *testing.T) {
	r := &report{measurements: &measurements{Judged: 1, Unseen: []bool{false}}}
	by := judge{start: lab.Rewards{0}, of: func(j *judgedAnswers) lab.Rewards { return j.Control }}
	run := func(reward float32) *fineTuning {
		return &fineTuning{Judged: []judgedAnswers{{Control: lab.Rewards{reward}}}}
	}
	// a answers 0 or 2, each half of the time; b 1 at 0.25, else 0: a wins at 2 (0.5) and ties at 0 and 0 (0.5·0.75).
	got := r.duel(by, run(2), mixture{0, 1, 0.5}, run(1), mixture{0, 1, 0.25})
	assert.InDelta(t, 0.5+0.5*0.75/2, got, 1e-12)
}

func TestRunsThatNeverLeaveHaveNoEqualKL(t *testing.T) {
	same := course{control: []float64{2, 4}, own: []float64{2, 4}}
	all := map[string]course{contest.KindSingle: same, contest.KindENS: same, contest.KindWA: same}
	f := analysedRL(t, diverging(all, map[string][]float64{contest.KindSingle: {1, 2}, contest.KindENS: {1, 2}, contest.KindWA: {-1, -2}}))
	at := verdictOf(t, f, "judged by the control")
	assert.Equal(t, lab.Unclear, at.Seen)
	assert.Contains(t, at.Figures, "at no KL")
}

func TestWhereHackingBegins(t *testing.T) {
	kls := map[string][]float64{contest.KindSingle: {1, 2, 3}, contest.KindENS: {1, 2, 3}, contest.KindWA: {1, 2, 3}}
	rises := course{control: []float64{1, 2, 3}, own: []float64{1, 2, 3}}
	for name, c := range map[string]struct {
		single, wa course
		seen       lab.Outcome
		says       string
	}{
		"the control falls at once, WA's later": {
			course{control: []float64{2, 0, -3}, own: []float64{2, 4, 8}}, course{control: []float64{2, 4, 0}, own: []float64{2, 4, 8}}, lab.Seen,
			"single RM: seen in 2 of 2 runs, step 2 (1.00 nats), step 2 (2.00 nats); WA: seen in 2 of 2 runs, step 4 (2.00 nats), step 4 (4.00 nats); WA − best single RM over the 2 seeds that tell: +2.0 [+2.0, +2.0] steps"},
		"WA is not hacked at all": {course{control: []float64{-2, -4, -6}, own: []float64{2, 4, 8}}, rises, lab.Seen,
			"step 0 (0.00 nats), step 0 (0.00 nats); WA: seen in 0 of 2 runs, not before step 6, not before step 6"},
		"only WA is hacked":   {rises, course{control: []float64{2, 0, -3}, own: []float64{2, 4, 8}}, lab.Contradicted, "-4.0 [-4.0, -4.0] steps"},
		"neither is hacked":   {rises, rises, lab.Unclear, "there is nothing to be later than"},
		"a policy that broke": {course{control: []float64{2, 0, -3}, own: []float64{2, 0, -3}}, rises, lab.Unclear, "single RM: seen in 0 of 2 runs"},
	} {
		t.Run(name, func(t *testing.T) {
			f := analysedRL(t, diverging(map[string]course{contest.KindSingle: c.single, contest.KindENS: c.single, contest.KindWA: c.wa}, kls))
			v := verdictOf(t, f, "Hacking, a control reward that falls")
			assert.Equal(t, c.seen, v.Seen, v.Figures)
			assert.Contains(t, v.Figures, c.says)
		})
	}
}

// TestAFallWithinTheNoiseIsNoHacking moves the control by less than its interval over prompts.
func TestAFallWithinTheNoiseIsNoHacking(t *testing.T) {
	m := diverging(map[string]course{contest.KindSingle: {[]float64{1, 1}, []float64{1, 2}}, contest.KindENS: {[]float64{1, 1}, []float64{1, 2}}, contest.KindWA: {[]float64{1, 1}, []float64{1, 2}}},
		map[string][]float64{contest.KindSingle: {1, 2}, contest.KindENS: {1, 2}, contest.KindWA: {1, 2}})
	for i := range m.Runs {
		for k := range m.Runs[i].Judged[1].Control {
			m.Runs[i].Judged[1].Control[k] += float32(labtest.Noise(77, k) - 0.05) // another draw, a little lower
		}
	}
	v := verdictOf(t, analysedRL(t, m), "Hacking, a control reward that falls")
	assert.Contains(t, v.Figures, "single RM: seen in 0 of 2 runs")
}

func TestTheBestMemberIsChosenByValidPairs(t *testing.T) {
	v := &valid{Groups: []string{"0", "1", "2"}, Control: labtest.ScoredAs(lab.Rewards{1, 1, 1}),
		Members: []lab.Scored{labtest.ScoredAs(lab.Rewards{1, -1, -1}), labtest.ScoredAs(lab.Rewards{1, 1, -1}), labtest.ScoredAs(lab.Rewards{-1, 1, 1})}}
	assert.Equal(t, 1, v.best(), "of equals the first")
	assert.Contains(t, v.note("member-2", &lab.Findings{}), "member-2, the most accurate of 3 on 3 pairs")

	single := &tuning{settings: settings{Runs: 3, KL: []float64{0.01}, Algorithms: paperAndGRPO}, best: 1}
	plan := single.plan()
	require.Len(t, plan, 3*3*2)
	for _, p := range plan[:6] {
		assert.Equal(t, "member-2", p.proxy, "every run of the single proxy")
	}
	single.best, single.Algorithms = -1, nil
	plan = single.plan()
	assert.Equal(t, []string{"member-1", "member-2", "member-3", "wa"}, []string{plan[0].proxy, plan[1].proxy, plan[2].proxy, plan[3].proxy})
}

func TestDamagedDivergencesAreRefused(t *testing.T) {
	same := course{control: []float64{2, 4}, own: []float64{2, 4}}
	for name, damage := range map[string]func(m *measurements){
		"a KL is missing":              func(m *measurements) { m.Runs[0].Judged[0].KL = m.Runs[0].Judged[0].KL[1:] },
		"one checkpoint has no KL":     func(m *measurements) { m.Runs[2].Judged[1].KL = nil },
		"the second control is silent": func(m *measurements) { m.Runs[1].Judged[0].Second = nil },
		"it saw no start":              func(m *measurements) { m.Start.Second = nil },
		"it says the same of all":      func(m *measurements) { clear(m.Start.Second) },
		"no valid pair":                func(m *measurements) { m.Valid = &valid{} },
	} {
		t.Run(name, func(t *testing.T) {
			m := diverging(map[string]course{contest.KindSingle: same, contest.KindENS: same, contest.KindWA: same},
				map[string][]float64{contest.KindSingle: {1, 2}, contest.KindENS: {1, 2}, contest.KindWA: {1, 2}})
			damage(m)
			text, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = Experiment().Analyse(text)
			assert.Error(t, err)
		})
	}
}
