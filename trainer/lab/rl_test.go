package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/reward"
)

// course is what a synthetic run does to a policy: the gains at its checkpoints.
type course struct{ control, own []float64 }

// coursed are measurements in which the runs of each kind of proxy take a course.
func coursed(courses map[string]course) *rlMeasured {
	const prompts, judged, steps = 12, 4, 6
	m := &rlMeasured{M: 6, Judged: judged, Unseen: make([]bool, prompts), Swapped: 0.25}
	rewards := func(seed int, shift float64) Rewards {
		var r Rewards
		for i := range prompts * judged {
			r = append(r, float32(shift+noise(seed, i)))
		}
		return r
	}
	tokens := make([]int, prompts*judged)
	m.Start = rlJudged{Control: rewards(1, 0), Tokens: tokens}
	for _, name := range []string{"member-1", "member-2", "wa", "ens"} {
		m.Proxies = append(m.Proxies, rlProxy{name, rewards(10, 0)})
	}
	for seed := range 2 {
		for _, p := range []struct{ kind, proxy string }{{kindSingle, fmt.Sprintf("member-%d", seed+1)}, {kindWA, "wa"}, {kindENS, "ens"}} {
			run := rlRun{Kind: p.kind, Proxy: p.proxy, Seed: uint64(seed + 1), KL: 0.01}
			c := courses[p.kind]
			for k := range c.control {
				run.Judged = append(run.Judged, rlJudged{Step: (k + 1) * steps / len(c.control), Tokens: tokens,
					Control: rewards(1, c.control[k]), Proxy: rewards(10, c.own[k])})
			}
			for s := range steps {
				run.Steps = append(run.Steps, rlStep{Reward: float64(s), Control: float64(s), KL: float64(s), Entropy: 1, Length: 9})
			}
			m.Runs = append(m.Runs, run)
		}
	}
	return m
}

func analysedRL(t *testing.T, m *rlMeasured) *Findings {
	text, err := json.Marshal(m)
	require.NoError(t, err)
	f, err := RL().Analyse(text)
	require.NoError(t, err)
	return f
}

func outcomesOf(f *Findings) (out []Outcome) {
	for _, v := range f.Verdicts {
		out = append(out, v.Seen)
	}
	return out
}

func TestReinforcementLearningFindsWhatWasPutIn(t *testing.T) {
	hacked := course{control: []float64{1, 0.5, -1}, own: []float64{1, 2, 4}}
	sound := course{control: []float64{1, 1.5, 2}, own: []float64{1, 1.6, 2.1}}
	t.Run("single reward models and the ensemble are hacked", func(t *testing.T) {
		f := analysedRL(t, coursed(map[string]course{kindSingle: hacked, kindENS: hacked, kindWA: sound}))
		assert.Equal(t, []Outcome{Seen, Seen, Seen, Seen}, outcomesOf(f), f.Verdicts)
		assert.Contains(t, f.Verdicts[3].Figures, "it falls by +2.", "from 1 to −1")
	})
	t.Run("the average is hacked", func(t *testing.T) {
		f := analysedRL(t, coursed(map[string]course{kindSingle: sound, kindENS: sound, kindWA: hacked}))
		assert.Equal(t, []Outcome{Contradicted, Contradicted, Contradicted, Contradicted}, outcomesOf(f), f.Verdicts)
	})
	t.Run("all fare alike", func(t *testing.T) {
		f := analysedRL(t, coursed(map[string]course{kindSingle: sound, kindENS: sound, kindWA: sound}))
		assert.Equal(t, []Outcome{Unclear, Unclear, Unclear, Unclear}, outcomesOf(f), f.Verdicts)
	})
}

func TestReinforcementLearningNeedsRunsThatAgree(t *testing.T) {
	better, same := course{control: []float64{4}, own: []float64{4}}, course{control: []float64{1}, own: []float64{1}}
	m := coursed(map[string]course{kindSingle: same, kindENS: same, kindWA: better})
	assert.Equal(t, Seen, analysedRL(t, m).Verdicts[0].Seen)
	last := coursed(map[string]course{kindSingle: same, kindENS: same, kindWA: same})
	m.Runs[4].Judged = last.Runs[4].Judged // of WA, seed 2
	require.Equal(t, "wa", m.Runs[4].Proxy)
	assert.Equal(t, Unclear, analysedRL(t, m).Verdicts[0].Seen, "one run of two is no finding, however many its answers")
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
	m := coursed(map[string]course{kindSingle: {[]float64{2}, []float64{3}}, kindENS: {[]float64{0}, []float64{0}}, kindWA: {[]float64{1}, []float64{1}}})
	_, control := meanStd(m.Start.Control.Values())
	_, own := meanStd(m.Proxies[0].Start.Values())
	f := analysedRL(t, m)
	single := f.Figures[0].Series[0]
	assert.Equal(t, kindSingle, single.Label)
	assert.InDelta(t, 0, single.Y[0], 1e-9, "the start")
	assert.InDelta(t, 2/control, single.Y[1], 1e-5)
	assert.InDelta(t, 3/own, f.Figures[1].Series[0].Y[1], 1e-5)
}

func TestReinforcementLearningFiguresAreDrawn(t *testing.T) {
	c := course{control: []float64{1, 0.5}, own: []float64{1, 2}}
	for _, figure := range analysedRL(t, coursed(map[string]course{kindSingle: c, kindENS: c, kindWA: c})).Figures {
		_, err := figure.Draw("svg")
		require.NoError(t, err, figure.Name)
	}
}

func TestReinforcementLearningRefusesDamagedMeasurements(t *testing.T) {
	c := course{control: []float64{1, 0.5}, own: []float64{1, 2}}
	for name, damage := range map[string]func(m *rlMeasured){
		"nothing was measured":       func(m *rlMeasured) { *m = rlMeasured{} },
		"a reward is missing":        func(m *rlMeasured) { m.Runs[1].Judged[0].Control = m.Runs[1].Judged[0].Control[1:] },
		"an own reward is missing":   func(m *rlMeasured) { m.Runs[1].Judged[0].Proxy = nil },
		"a checkpoint is missing":    func(m *rlMeasured) { m.Runs[2].Judged = m.Runs[2].Judged[:1] },
		"a step is missing":          func(m *rlMeasured) { m.Runs[2].Steps = m.Runs[2].Steps[:1] },
		"a proxy is missing":         func(m *rlMeasured) { m.Proxies = m.Proxies[1:] },
		"a kind is missing":          func(m *rlMeasured) { m.Runs = m.Runs[:2] },
		"a run is missing":           func(m *rlMeasured) { m.Runs = m.Runs[:5] },
		"seeds differ":               func(m *rlMeasured) { m.Runs[1].Seed = 9 },
		"all rewards are the same":   func(m *rlMeasured) { clear(m.Start.Control) },
		"a reward is not finite":     func(m *rlMeasured) { m.Start.Control[0] = float32(math.NaN()) },
		"a checkpoint is of no step": func(m *rlMeasured) { m.Runs[0].Judged[0].Step = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			m := coursed(map[string]course{kindSingle: c, kindENS: c, kindWA: c})
			damage(m)
			text, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = RL().Analyse(text)
			assert.Error(t, err)
		})
	}
}

// served is Lab.Serve by the lab's own arithmetic.
type served struct {
	l  *Lab
	mu sync.Mutex // a lab serves one at a time
	// starts are the names and modes that were served, in order.
	starts []string
}

func (s *served) start(_ context.Context, name string, members []string, mode string) (string, func() error, error) {
	s.starts = append(s.starts, name+" "+mode)
	groups := [][]string{members}
	switch one, found := strings.CutPrefix(mode, "member:member-"); {
	case found:
		groups = [][]string{{members[one[0]-'1']}}
	case mode == "ens":
		groups = nil
		for _, m := range members {
			groups = append(groups, []string{m})
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = s.reply(r.Context(), body, groups)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	return server.URL, func() error { server.Close(); return nil }, nil
}

// reply answers a request with the mean of the groups' rewards.
func (s *served) reply(ctx context.Context, body []byte, groups [][]string) ([]byte, error) {
	req, err := api.DecodeRewardRequest(body)
	if err != nil {
		return nil, err
	}
	var texts []reward.Input
	for _, in := range req.Inputs {
		for _, answer := range in.Responses {
			texts = append(texts, reward.Input{Prompt: &in.Prompt.Text, Response: answer})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := api.RewardResponse{Object: "reward.list", Model: "m", Revision: "sha256:test", Mode: "wa", Data: make([]api.Reward, len(texts))}
	for _, members := range groups {
		rewards, err := s.l.Rewards(ctx, Model{Members: members}, texts)
		if err != nil {
			return nil, err
		}
		for i, v := range rewards {
			reply.Data[i].Index = i
			reply.Data[i].Reward += v / float32(len(groups))
		}
	}
	return json.Marshal(reply)
}

func TestReinforcementLearningWantsAServer(t *testing.T) {
	_, err := RL().Measure(t.Context(), &Lab{Size: Tiny})
	assert.ErrorContains(t, err, "no way to serve")
}
