package backend

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/backend/backendtest"
	"github.com/warmserve/warmserve/warm/reward"
)

// three are sequences of a model, of which any can be made a bad one.
func three() []model.Sequence {
	return []model.Sequence{{IDs: []int32{5, 6, 7}, Read: []int32{2}}, {IDs: []int32{8, 9}, Read: []int32{1}}, {IDs: []int32{10, 11, 12, 13}, Read: []int32{3}}}
}

// onEngine is a model on an engine that serves it.
func onEngine(t testing.TB, kind Kind, change func(o *Options)) (*backendtest.Server, *Engine, *Model, *record) {
	a := decoder(t, "a", nil)
	s := backendtest.New(t, string(kind), a)
	e, log := engine(t, s, kind, change)
	d := served(t, e, config(e, a, decoder(t, "b", nil)))
	return s, e, d.Average().(*Model), log
}

// only breaks requests to a path.
func only(path string, f func(w http.ResponseWriter, body string)) backendtest.Fault {
	return func(w http.ResponseWriter, r *http.Request, body string) bool {
		if r.URL.Path != path {
			return false
		}
		f(w, body)
		return true
	}
}

func status(code int) func(w http.ResponseWriter, body string) {
	return func(w http.ResponseWriter, _ string) { w.WriteHeader(code) }
}

// scores is Score of a model, whose error must be one that passes.
func scores(t *testing.T, e *Engine, m *Model, seqs []model.Sequence) ([]float32, error) {
	t.Helper()
	out := make([]float32, len(seqs))
	err := e.Score(m, out, seqs)
	if err != nil {
		away := new(model.UnavailableError)
		require.ErrorAs(t, err, &away)
		assert.Positive(t, away.After)
	}
	return out, err
}

// An engine that fails a few times is asked again, and one that goes on is away: the reward is
// an error that passes, readiness says it, and once the engine answers again so does the model.
func TestEngineThatIsAwayIsWaitedForALittle(t *testing.T) {
	for _, kind := range []Kind{SGLang, VLLM} {
		for name, broken := range map[string]func(w http.ResponseWriter, body string){
			"503": status(http.StatusServiceUnavailable), "502": status(http.StatusBadGateway), "429": status(http.StatusTooManyRequests),
			"a reset": func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) },
			"a reset in the middle": func(w http.ResponseWriter, _ string) {
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte(`[{"embedding":`))
				panic(http.ErrAbortHandler)
			},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				t.Parallel() // it waits more than it works
				s, e, m, _ := onEngine(t, kind, nil)
				want, err := scores(t, e, m, three())
				require.NoError(t, err)
				var left atomic.Int32
				left.Store(2)
				s.Break(func(w http.ResponseWriter, r *http.Request, body string) bool {
					return left.Add(-1) >= 0 && only("/classify", broken)(w, r, body)
				})
				got, err := scores(t, e, m, three())
				require.NoError(t, err)
				assert.Equal(t, want, got)

				s.Break(func(w http.ResponseWriter, _ *http.Request, body string) bool { broken(w, body); return true })
				_, err = scores(t, e, m, three())
				require.Error(t, err)
				require.Eventually(t, func() bool { return m.Trouble() != "" }, 5*time.Second, time.Millisecond)
				s.Break(nil)
				require.Eventually(t, func() bool { return m.Trouble() == "" }, 5*time.Second, time.Millisecond)
				got, err = scores(t, e, m, three())
				require.NoError(t, err)
				assert.Equal(t, want, got)
			})
		}
	}
}

func TestEngineThatIsSlowIsGivenUp(t *testing.T) {
	a := decoder(t, "a", nil)
	s := backendtest.New(t, "sglang", a)
	e, _ := engine(t, s, SGLang, nil)
	e.times.score, e.times.watch = 200*time.Millisecond, time.Hour
	m := served(t, e, config(e, a)).Average().(*Model)
	release := make(chan struct{})
	s.Break(only("/classify", func(http.ResponseWriter, string) { <-release }))
	start := time.Now()
	_, err := scores(t, e, m, three())
	close(release)
	assert.ErrorContains(t, err, "deadline exceeded")
	assert.Less(t, time.Since(start), 2*time.Second)
}

// What an engine says of one sequence voids no others: it is found, and alone has no reward.
func TestOneBadSequenceVoidsNoOthers(t *testing.T) {
	bad := "9" // the last token of the second sequence
	for name, broken := range map[string]func(w http.ResponseWriter, body string){
		"a refusal": status(http.StatusBadRequest),
		"an error":  status(http.StatusInternalServerError),
		"no JSON":   func(w http.ResponseWriter, _ string) { _, _ = w.Write([]byte(`[{"embedding":[NaN]}]`)) },
		"no answer": func(w http.ResponseWriter, _ string) { _, _ = w.Write([]byte(`[]`)) },
		"more outputs": func(w http.ResponseWriter, _ string) {
			_, _ = w.Write([]byte(`[{"embedding":[1,2]},{"embedding":[1,2]},{"embedding":[1,2]}]`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, e, m, log := onEngine(t, SGLang, nil)
			want, err := scores(t, e, m, three())
			require.NoError(t, err)
			s.Break(func(w http.ResponseWriter, r *http.Request, body string) bool {
				return strings.Contains(body, "[8,"+bad+"]") && only("/classify", broken)(w, r, body)
			})
			got, err := scores(t, e, m, three())
			require.NoError(t, err)
			assert.Equal(t, want[0], got[0])
			assert.True(t, math.IsNaN(float64(got[1])))
			assert.Equal(t, want[2], got[2])
			assert.Contains(t, log.String(), "the engine refuses a sequence")
			assert.Empty(t, m.Trouble())
		})
	}
}

func TestNaNOfAnEngineIsOne(t *testing.T) {
	s, e, m, _ := onEngine(t, SGLang, nil)
	version := m.id
	s.Break(only("/classify", func(w http.ResponseWriter, _ string) {
		fmt.Fprintf(w, `[{"embedding":[1],"meta_info":{"weight_version":%q}},{"embedding":[null],"meta_info":{"weight_version":%[1]q}},{"embedding":[3],"meta_info":{"weight_version":%[1]q}}]`, version)
	}))
	got, err := scores(t, e, m, three())
	require.NoError(t, err)
	assert.Equal(t, float32(1), got[0])
	assert.True(t, math.IsNaN(float64(got[1])))
	assert.Equal(t, float32(3), got[2])
}

// An engine that refuses everything is at fault itself: nobody's reward becomes NaN for it.
func TestEngineThatRefusesEverythingIsAway(t *testing.T) {
	for name, broken := range map[string]func(w http.ResponseWriter, body string){
		"errors": status(http.StatusInternalServerError), "too few results": func(w http.ResponseWriter, _ string) { _, _ = w.Write([]byte(`[]`)) },
		"a page": func(w http.ResponseWriter, _ string) { _, _ = w.Write([]byte(`<html>`)) }, "a wrong key": status(http.StatusUnauthorized),
	} {
		t.Run(name, func(t *testing.T) {
			s, e, m, _ := onEngine(t, SGLang, nil)
			s.Break(only("/classify", broken))
			s.Asked("")
			_, err := scores(t, e, m, three())
			require.Error(t, err)
			assert.LessOrEqual(t, len(s.Asked("/classify")), 8, "it is not asked for each sequence")
		})
	}
}

// After a restart an engine has other weights, whose scores nobody is given, and is given the
// model's again.
func TestWeightsThatARestartLostAreLoadedAgain(t *testing.T) {
	for _, kind := range []Kind{SGLang, VLLM} {
		t.Run(string(kind), func(t *testing.T) {
			a := decoder(t, "a", nil)
			s := backendtest.New(t, string(kind), a)
			e, log := engine(t, s, kind, nil)
			e.times.watch = time.Hour // a batch finds it
			m := served(t, e, config(e, a, decoder(t, "b", nil))).Average().(*Model)
			want, err := scores(t, e, m, three())
			require.NoError(t, err)
			s.Restart("")
			_, err = scores(t, e, m, three())
			require.Error(t, err)
			assert.ErrorContains(t, err, `it serves "a" in the place of warm-`)
			require.Eventually(t, func() bool { return m.Trouble() == "" }, 5*time.Second, time.Millisecond)
			got, err := scores(t, e, m, three())
			require.NoError(t, err)
			assert.Equal(t, want, got)
			assert.Contains(t, log.String(), "the engine lost its weights and is given them again")
		})
	}
}

// Weights that another server of this kind gave an engine are left to it.
func TestWeightsOfAnotherServerAreLeftToIt(t *testing.T) {
	s, e, m, _ := onEngine(t, SGLang, nil)
	other, _ := engine(t, s, SGLang, nil)
	theirs := served(t, other, config(other, decoder(t, "c", nil)))
	_, err := scores(t, e, m, three())
	require.Error(t, err)
	require.Eventually(t, func() bool { return strings.Contains(m.Trouble(), "another server uses it as well") }, 5*time.Second, time.Millisecond)
	assert.Equal(t, theirs.Average().(*Model).dir, s.Serves())
	_, err = scores(t, other, theirs.Average().(*Model), three())
	assert.NoError(t, err)
}

// What an engine serves is known to be the model before it is used, whatever the engine says.
func TestEngineThatServesSomethingElseIsNotBelieved(t *testing.T) {
	a, b := decoder(t, "a", nil), decoder(t, "b", nil)
	activate := func(t *testing.T, s *backendtest.Server, kind Kind) error {
		e, _ := engine(t, s, kind, nil)
		d, err := reward.Open(t.Context(), config(e, a, b), 1)
		require.NoError(t, err)
		t.Cleanup(d.Close)
		return e.Activate(t.Context(), d.Average(), nil)
	}
	t.Run("a load that does nothing", func(t *testing.T) {
		s := backendtest.New(t, "vllm", a)
		s.Break(only("/collective_rpc", func(w http.ResponseWriter, _ string) { _, _ = w.Write([]byte(`{"results":[null]}`)) }))
		assert.ErrorContains(t, activate(t, s, VLLM), "its scores are not this model's")
	})
	t.Run("a sigmoid", func(t *testing.T) {
		s := backendtest.New(t, "vllm", a)
		s.Activated = true
		assert.ErrorContains(t, activate(t, s, VLLM), "its scores are not this model's")
	})
	t.Run("another class", func(t *testing.T) {
		s := backendtest.New(t, "sglang", decoder(t, "q", func(c map[string]any) {
			c["architectures"], c["model_type"] = []string{"Qwen2ForSequenceClassification"}, "qwen2"
		}))
		s.Break(only("/update_weights_from_disk", func(w http.ResponseWriter, body string) {
			_, _ = w.Write([]byte(`{"success":true,"message":""}`))
		}))
		assert.ErrorContains(t, activate(t, s, SGLang), "and says that it serves")
	})
	t.Run("a load that fails", func(t *testing.T) {
		s := backendtest.New(t, "sglang", a)
		s.Break(only("/update_weights_from_disk", func(w http.ResponseWriter, _ string) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"success":false,"message":"Failed to get weights iterator: no such folder.","num_paused_requests":0}`))
		}))
		assert.ErrorContains(t, activate(t, s, SGLang), "Failed to get weights iterator: no such folder.")
	})
	t.Run("no development mode", func(t *testing.T) {
		s := backendtest.New(t, "vllm", a)
		s.Fixed = true
		err := activate(t, s, VLLM)
		assert.ErrorContains(t, err, "the engine takes no other weights while it runs unless it was started with VLLM_SERVER_DEV_MODE=1: start it with")
	})
}

// vLLM without its development mode is as TEI: started on the folder it is believed.
func TestVLLMThatWasStartedOnTheAverage(t *testing.T) {
	a, b := decoder(t, "a", nil), decoder(t, "b", nil)
	s := backendtest.New(t, "vllm", a)
	s.Fixed = true
	e, _ := engine(t, s, VLLM, nil)
	e.times.watch = time.Hour // a batch finds it
	c := config(e, a, b)
	d, err := reward.Open(t.Context(), c, 1)
	require.NoError(t, err)
	defer d.Close()
	s.Restart(d.Average().(*Model).dir)
	require.NoError(t, e.Activate(t.Context(), d.Average(), nil))
	sameRewards(t, e, d, c, texts())
	s.Restart(a)
	_, err = scores(t, e, d.Average().(*Model), three())
	assert.ErrorContains(t, err, `it serves "a"`)
}

func TestKeyIsSentAndRedirectsAreNotFollowed(t *testing.T) {
	a := decoder(t, "a", nil)
	s := backendtest.New(t, "sglang", a)
	s.Key = "engine key"
	e, _ := engine(t, s, SGLang, nil)
	d, err := reward.Open(t.Context(), config(e, a), 1)
	require.NoError(t, err)
	err = e.Activate(t.Context(), d.Average(), nil)
	assert.ErrorContains(t, err, "HTTP 401: Unauthorized: the engine wants a key: the variable WARM_BACKEND_KEY")
	d.Close()

	e, _ = engine(t, s, SGLang, func(o *Options) { o.Key = "engine key" })
	m := served(t, e, config(e, a)).Average().(*Model)
	var asked atomic.Int32
	other := backendtest.New(t, "sglang", a)
	other.Break(func(http.ResponseWriter, *http.Request, string) bool { asked.Add(1); return false })
	s.Break(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	_, err = scores(t, e, m, three())
	assert.ErrorContains(t, err, "HTTP 307")
	assert.Zero(t, asked.Load())
}

func TestRepliesAreBounded(t *testing.T) {
	s, e, m, _ := onEngine(t, SGLang, nil)
	s.Break(only("/classify", func(w http.ResponseWriter, _ string) {
		for range 200 {
			_, _ = w.Write(make([]byte, 4096))
		}
	}))
	_, err := scores(t, e, m, three())
	assert.ErrorContains(t, err, "bytes")
}

// What carries requests is the caller's to wrap, for traces and counts.
func TestTransportIsTheCallersToWrap(t *testing.T) {
	var n atomic.Int32
	_, e, m, _ := onEngine(t, SGLang, func(o *Options) {
		o.Wrap = func(base http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				n.Add(1)
				return base.RoundTrip(r)
			})
		}
	})
	_, err := scores(t, e, m, three())
	require.NoError(t, err)
	assert.Positive(t, n.Load())
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCloseEndsWhatAnEngineIsAskedFor(t *testing.T) {
	s, e, m, _ := onEngine(t, SGLang, nil)
	release, asked := make(chan struct{}), make(chan struct{})
	defer close(release)
	s.Break(only("/classify", func(http.ResponseWriter, string) { close(asked); <-release }))
	ended := make(chan error)
	go func() { ended <- e.Score(m, make([]float32, 3), three()) }()
	<-asked
	e.Close()
	assert.ErrorIs(t, <-ended, errClosed)
}

func TestModelsOfOthersAreRefused(t *testing.T) {
	_, e, m, _ := onEngine(t, SGLang, nil)
	other := New(Options{Kind: SGLang, URL: "http://127.0.0.1:1"})
	defer other.Close()
	assert.Error(t, other.Score(m, make([]float32, 3), three()))
	m.Close()
	m.Close()
	err := e.Score(m, make([]float32, 3), three())
	assert.ErrorIs(t, err, errClosed)
	assert.False(t, errors.As(err, new(*model.UnavailableError)))
	err = e.Score(m, make([]float32, 1), []model.Sequence{{IDs: []int32{9999}, Read: []int32{0}}})
	assert.Error(t, err)
}

// A reply whose sequences were scored by several weights, the last of them nobody's of ours, counts for none.
func TestReplyOfSeveralWeightsIsNotBelieved(t *testing.T) {
	s, e, m, _ := onEngine(t, SGLang, nil)
	want, err := scores(t, e, m, three())
	require.NoError(t, err)
	s.Break(func(w http.ResponseWriter, r *http.Request, body string) bool {
		var q struct {
			IDs [][]int32 `json:"input_ids"`
		}
		if r.URL.Path != "/classify" || json.Unmarshal([]byte(body), &q) != nil || len(q.IDs) == 1 {
			return false
		}
		var out []string
		for i := range q.IDs {
			version := m.id
			if i == len(q.IDs)-1 {
				version = "default"
			}
			out = append(out, fmt.Sprintf(`{"embedding":[99],"meta_info":{"weight_version":%q}}`, version))
		}
		fmt.Fprintf(w, "[%s]", strings.Join(out, ","))
		return true
	})
	got, err := scores(t, e, m, three())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// Scores that the CPU cannot compute, as of weights that overflow, are no model's.
func TestEngineIsNotCheckedByWhatIsNoNumber(t *testing.T) {
	_, e, m, _ := onEngine(t, SGLang, nil)
	require.NoError(t, e.check(t.Context(), m))
	m.expected[1][0] = float32(math.NaN())
	require.ErrorContains(t, e.check(t.Context(), m), "NaN is right")
}
