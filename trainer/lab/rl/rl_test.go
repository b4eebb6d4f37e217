package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/rl"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// course is what a synthetic run does to a policy: the gains at its checkpoints.
type course struct{ control, own []float64 }

// coursed are measurements in which the runs of each kind of proxy take a course.
func coursed(courses map[string]course) *measurements {
	const prompts, judged, steps = 12, 4, 6
	m := &measurements{M: 6, Judged: judged, Unseen: make([]bool, prompts), Swapped: 0.25}
	rewards := func(seed int, shift float64) lab.Rewards {
		var r lab.Rewards
		for i := range prompts * judged {
			r = append(r, float32(shift+labtest.Noise(seed, i)))
		}
		return r
	}
	tokens := make([]int, prompts*judged)
	m.Start = judgedAnswers{Control: rewards(1, 0), Tokens: tokens}
	for _, name := range []string{"member-1", "member-2", "wa", "ens"} {
		m.Proxies = append(m.Proxies, proxy{name, rewards(10, 0)})
	}
	for seed := range 2 {
		for _, p := range []struct{ kind, proxy string }{{contest.KindSingle, fmt.Sprintf("member-%d", seed+1)}, {contest.KindWA, "wa"}, {contest.KindENS, "ens"}} {
			run := fineTuning{Kind: p.kind, Proxy: p.proxy, Seed: uint64(seed + 1), KL: 0.01}
			c := courses[p.kind]
			for k := range c.control {
				run.Judged = append(run.Judged, judgedAnswers{Step: (k + 1) * steps / len(c.control), Tokens: tokens,
					Control: rewards(1, c.control[k]), Proxy: rewards(10, c.own[k])})
			}
			for s := range steps {
				run.Steps = append(run.Steps, stepMetrics{Reward: float64(s), Control: float64(s), KL: float64(s), Entropy: 1, Length: 9})
			}
			m.Runs = append(m.Runs, run)
		}
	}
	return m
}

func analysedRL(t *testing.T, m *measurements) *lab.Findings {
	text, err := json.Marshal(m)
	require.NoError(t, err)
	f, err := Experiment().Analyse(text)
	require.NoError(t, err)
	return f
}

func outcomesOf(f *lab.Findings) (out []lab.Outcome) {
	for _, v := range f.Verdicts {
		out = append(out, v.Seen)
	}
	return out
}

func TestReinforcementLearningFindsWhatWasPutIn(t *testing.T) {
	hacked := course{control: []float64{1, 0.5, -1}, own: []float64{1, 2, 4}}
	sound := course{control: []float64{1, 1.5, 2}, own: []float64{1, 1.6, 2.1}}
	t.Run("single reward models and the ensemble are hacked", func(t *testing.T) {
		f := analysedRL(t, coursed(map[string]course{contest.KindSingle: hacked, contest.KindENS: hacked, contest.KindWA: sound}))
		assert.Equal(t, []lab.Outcome{lab.Seen, lab.Seen, lab.Seen, lab.Seen}, outcomesOf(f), f.Verdicts)
		assert.Contains(t, f.Verdicts[3].Figures, "fall from its best, single reward model: +2.", "from 1 to −1")
	})
	t.Run("the average is hacked", func(t *testing.T) {
		f := analysedRL(t, coursed(map[string]course{contest.KindSingle: sound, contest.KindENS: sound, contest.KindWA: hacked}))
		assert.Equal(t, []lab.Outcome{lab.Contradicted, lab.Contradicted, lab.Contradicted, lab.Contradicted}, outcomesOf(f), f.Verdicts)
	})
	t.Run("all fare alike", func(t *testing.T) {
		f := analysedRL(t, coursed(map[string]course{contest.KindSingle: sound, contest.KindENS: sound, contest.KindWA: sound}))
		assert.Equal(t, []lab.Outcome{lab.Unclear, lab.Unclear, lab.Unclear, lab.Unclear}, outcomesOf(f), f.Verdicts)
		assert.Contains(t, f.Verdicts[3].Figures, "there is nothing to be slower than", "a reward that only rose")
	})
}

func TestReinforcementLearningNeedsRunsThatAgree(t *testing.T) {
	better, same := course{control: []float64{4}, own: []float64{4}}, course{control: []float64{1}, own: []float64{1}}
	m := coursed(map[string]course{contest.KindSingle: same, contest.KindENS: same, contest.KindWA: better})
	assert.Equal(t, lab.Seen, analysedRL(t, m).Verdicts[0].Seen)
	last := coursed(map[string]course{contest.KindSingle: same, contest.KindENS: same, contest.KindWA: same})
	m.Runs[4].Judged = last.Runs[4].Judged // of WA, seed 2
	require.Equal(t, "wa", m.Runs[4].Proxy)
	assert.Equal(t, lab.Unclear, analysedRL(t, m).Verdicts[0].Seen, "one run of two is no finding, however many its answers")
}

// TestRunsByAnEnsembleMayBeLeftOut compares WA with the single reward model alone.
func TestRunsByAnEnsembleMayBeLeftOut(t *testing.T) {
	better, same := course{control: []float64{4}, own: []float64{4}}, course{control: []float64{1}, own: []float64{1}}
	m := coursed(map[string]course{contest.KindSingle: same, contest.KindENS: same, contest.KindWA: better})
	whole := analysedRL(t, m)
	isENS := func(p proxy) bool { return p.Name == "ens" }
	m.Proxies = slices.DeleteFunc(m.Proxies, isENS)
	m.Runs = slices.DeleteFunc(m.Runs, func(r fineTuning) bool { return r.Kind == contest.KindENS })
	f := analysedRL(t, m)
	without := slices.DeleteFunc(whole.Verdicts, func(v lab.Verdict) bool { return strings.Contains(v.Claim, "ENS") })
	assert.Equal(t, without, f.Verdicts)
	for _, figure := range f.Figures {
		assert.Len(t, figure.Series, 2, figure.Name)
	}
	plan := (&tuning{settings: settings{Runs: 3, KL: []float64{0.01}, Algorithms: paperAndGRPO, NoENS: true}}).plan()
	assert.Len(t, plan, 2*3*2)
}

func TestOverRunsIsStudents(t *testing.T) {
	// Of 1, 2, 3 and 6: mean 3, standard error 1.0801, quantile of 3 degrees 3.1824.
	e, err := overRuns([]float64{1, 2, 3, 6})
	require.NoError(t, err)
	assert.InDelta(t, 3, e.Value, 1e-12)
	assert.InDelta(t, 3-3.4374, e.Low, 1e-3)
	assert.InDelta(t, 3+3.4374, e.High, 1e-3)
	_, err = overRuns([]float64{1})
	assert.Error(t, err)
}

func TestReinforcementLearningGainsAreInDeviationsOfTheStart(t *testing.T) {
	m := coursed(map[string]course{contest.KindSingle: {[]float64{2}, []float64{3}}, contest.KindENS: {[]float64{0}, []float64{0}}, contest.KindWA: {[]float64{1}, []float64{1}}})
	_, control := contest.MeanStd(m.Start.Control.Values())
	_, own := contest.MeanStd(m.Proxies[0].Start.Values())
	f := analysedRL(t, m)
	single := f.Figures[0].Series[0]
	assert.Equal(t, contest.KindSingle, single.Label)
	assert.InDelta(t, 0, single.Y[0], 1e-9, "the start")
	assert.InDelta(t, 2/control, single.Y[1], 1e-5)
	assert.InDelta(t, 3/own, f.Figures[1].Series[0].Y[1], 1e-5)
}

func TestReinforcementLearningFiguresAreDrawn(t *testing.T) {
	c := course{control: []float64{1, 0.5}, own: []float64{1, 2}}
	for _, figure := range analysedRL(t, coursed(map[string]course{contest.KindSingle: c, contest.KindENS: c, contest.KindWA: c})).Figures {
		_, err := figure.Draw("svg")
		require.NoError(t, err, figure.Name)
	}
}

// TestRunsOfOtherSeedsAreJudgedByOtherDraws holds them apart for as many prompts as there may be: parts of a draw add
// the number of their first prompt.
func TestRunsOfOtherSeedsAreJudgedByOtherDraws(t *testing.T) {
	drawn := map[uint64]string{}
	for _, from := range []uint64{contest.SeedJudged, seedJudged(1), seedJudged(2), seedJudged(3)} {
		for at := range uint64(1000) {
			require.Empty(t, drawn[from+at])
			drawn[from+at] = fmt.Sprint(from)
		}
	}
}

// TestStepsThatNobodyWatched have no figure of the control's rewards for what was learned from.
func TestStepsThatNobodyWatched(t *testing.T) {
	c := course{control: []float64{1, 0.5}, own: []float64{1, 2}}
	m := coursed(map[string]course{contest.KindSingle: c, contest.KindENS: c, contest.KindWA: c})
	watched := len(analysedRL(t, m).Figures)
	m.Unwatched = true
	figures := analysedRL(t, m).Figures
	assert.Len(t, figures, watched-1)
	for _, f := range figures {
		assert.NotContains(t, f.Name, "control-steps")
	}
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	for line, watched := range map[string]bool{`{"step":1,"reward":2,"control":3}`: true, `{"step":1,"reward":2}`: false} {
		require.NoError(t, os.WriteFile(path, []byte(line+"\n"), 0o644))
		steps, err := readSteps(path, watched)
		require.NoError(t, err)
		assert.EqualValues(t, 2, steps[0].Reward)
		assert.Equal(t, watched, steps[0].Control == 3)
		_, err = readSteps(path, !watched)
		assert.Error(t, err)
	}
}

func TestReinforcementLearningRefusesDamagedMeasurements(t *testing.T) {
	c := course{control: []float64{1, 0.5}, own: []float64{1, 2}}
	for name, damage := range map[string]func(m *measurements){
		"nothing was measured":       func(m *measurements) { *m = measurements{} },
		"a reward is missing":        func(m *measurements) { m.Runs[1].Judged[0].Control = m.Runs[1].Judged[0].Control[1:] },
		"an own reward is missing":   func(m *measurements) { m.Runs[1].Judged[0].Proxy = nil },
		"a checkpoint is missing":    func(m *measurements) { m.Runs[2].Judged = m.Runs[2].Judged[:1] },
		"a step is missing":          func(m *measurements) { m.Runs[2].Steps = m.Runs[2].Steps[:1] },
		"a proxy is missing":         func(m *measurements) { m.Proxies = m.Proxies[1:] },
		"a kind is missing":          func(m *measurements) { m.Runs = m.Runs[:2] },
		"a run is missing":           func(m *measurements) { m.Runs = m.Runs[:5] },
		"seeds differ":               func(m *measurements) { m.Runs[1].Seed = 9 },
		"all rewards are the same":   func(m *measurements) { clear(m.Start.Control) },
		"a reward is not finite":     func(m *measurements) { m.Start.Control[0] = float32(math.NaN()) },
		"a checkpoint is of no step": func(m *measurements) { m.Runs[0].Judged[0].Step = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			m := coursed(map[string]course{contest.KindSingle: c, contest.KindENS: c, contest.KindWA: c})
			damage(m)
			text, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = Experiment().Analyse(text)
			assert.Error(t, err)
		})
	}
}

// TestPoliciesAreForgottenOnceTheyAreJudged has a run whose policies lie there, and then what came of it too.
func TestPoliciesAreForgottenOnceTheyAreJudged(t *testing.T) {
	model := rewardtest.Checkpoint(t, "model", nil)
	l := &lab.Lab{Dir: t.TempDir(), Base: model, Data: t.TempDir(), Size: lab.Tiny}
	require.NoError(t, l.Open())
	defer l.Close()
	one := &tuning{settings: settingsOf(lab.Tiny), l: l, members: []string{model}, a: &contest.Arena{Policy: model,
		Prompts: []string{"why?\n"}, Control: lab.Model{Members: []string{model}}}}
	p := one.plan()[0]
	dir, there, err := one.dir(p)
	require.NoError(t, err)
	require.False(t, there)
	policies := []string{dir + "-1", dir}
	for _, policy := range policies {
		require.NoError(t, os.Mkdir(policy, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(policy, "config.json"), []byte("{}"), 0o644))
	}
	_, err = one.run(labtest.Stopped(t), p, &servers{})
	require.Error(t, err)
	for _, policy := range policies {
		assert.DirExists(t, policy, "it was not judged")
	}
	other := dir + "0"
	require.NoError(t, os.Mkdir(other, 0o755))
	name, err := one.name(dir)
	require.NoError(t, err)
	answers := make(lab.Rewards, one.Judged)
	want := fineTuning{Kind: p.kind, Proxy: p.proxy, Algorithm: p.algorithm, Seed: p.seed, KL: p.kl, Steps: make([]stepMetrics, one.Steps),
		Judged: []judgedAnswers{{Step: 1, Control: answers, Tokens: []int{1, 2}}, {Step: 3, Control: answers, Tokens: []int{3, 4}}}}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(l.Dir, "scores", name+".json"), text, 0o644))
	got, err := one.run(labtest.Stopped(t), p, &servers{})
	require.NoError(t, err)
	assert.Equal(t, &want, got)
	for _, policy := range policies {
		assert.NoDirExists(t, policy)
	}
	assert.DirExists(t, other)
	one.Judged++
	more, err := one.name(dir)
	require.NoError(t, err)
	assert.NotEqual(t, name, more, "more answers judge it")
}

// TestABusyMachineHasTimeForRewards reads what servers are told of how long their client waits.
func TestABusyMachineHasTimeForRewards(t *testing.T) {
	var told []string
	l := &lab.Lab{Serve: func(context.Context, string, []string, string) (string, func() error, error) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told = append(told, r.Header.Get("X-Request-Timeout"))
			http.Error(w, "enough", http.StatusBadRequest)
		}))
		return server.URL, func() error { server.Close(); return nil }, nil
	}}
	var s servers
	require.NoError(t, (&tuning{l: l, a: &contest.Arena{}}).serve(t.Context(), &s, "wa"))
	for _, c := range []rl.Scorer{s.proxy, s.control} {
		_, err := c.Score(t.Context(), []rl.Group{{Answers: []string{"yes"}}})
		require.Error(t, err)
	}
	require.NoError(t, s.stop())
	require.Len(t, told, 2)
	for _, seconds := range told {
		wait, err := time.ParseDuration(seconds + "s")
		require.NoError(t, err)
		assert.Greater(t, wait, 5*time.Minute)
		assert.LessOrEqual(t, wait, 10*time.Minute, "what a server allows")
	}
}

func TestReinforcementLearningWantsAServer(t *testing.T) {
	_, err := Experiment().Measure(t.Context(), &lab.Lab{Size: lab.Tiny})
	assert.ErrorContains(t, err, "no way to serve")
}
