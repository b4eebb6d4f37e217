package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/backend/backendtest"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// decoder is a member with random weights whose class SGLang and vLLM serve; edit may
// change its config.json.
func decoder(t testing.TB, name string, edit func(c map[string]any)) string {
	return member(t, name, rewardtest.Config, edit, nil)
}

// member writes a member of a configuration, changed by edit, with another tokenizer
// unless that is nil.
func member(t testing.TB, name, config string, edit func(c map[string]any), tokenizer []byte) string {
	return rewardtest.Checkpoint(t, name, func(c *loader.Contents) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(config), &fields))
		if edit != nil {
			edit(fields)
		}
		c.Config, _ = json.Marshal(fields)
		labels, _ := fields["id2label"].(map[string]string)
		one := c.Config
		if len(labels) > 1 {
			fields["id2label"] = map[string]string{"0": "LABEL_0"}
			one, _ = json.Marshal(fields)
		}
		cfg, err := model.ParseConfig(one)
		require.NoError(t, err)
		seed := uint64(0)
		for _, b := range []byte(name) {
			seed = seed*131 + uint64(b)
		}
		c.Source = model.NewRandom(cfg, seed)
		if len(labels) > 1 {
			c.Source = widened{c.Source, cfg.HeadTensors(), len(labels)}
		}
		if tokenizer != nil {
			c.Tokenizer, c.ChatTemplate = tokenizer, ""
		}
	})
}

// quick are limits of time that tests wait for.
var quick = times{score: 5 * time.Second, load: 5 * time.Second, ask: 2 * time.Second, pause: time.Millisecond,
	patience: 300 * time.Millisecond, watch: 10 * time.Millisecond}

// engine returns an engine of a server, and what it logs.
func engine(t testing.TB, s *backendtest.Server, kind Kind, change func(o *Options)) (*Engine, *record) {
	log := new(record)
	o := Options{Kind: kind, URL: s.URL, Directory: t.TempDir(), Log: slog.New(slog.NewTextHandler(log, nil))}
	if change != nil {
		change(&o)
	}
	e := New(o)
	e.times = quick
	t.Cleanup(e.Close)
	return e, log
}

// record is a log that is written and read at the same time.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// config is a deployment of members in float32.
func config(e model.Engine, dirs ...string) reward.Config {
	c := reward.Config{Engine: e, DType: kernel.Float32}
	for _, d := range dirs {
		c.Members = append(c.Members, reward.Member{Dir: d})
	}
	return c
}

// served loads members and has the engine serve them.
func served(t testing.TB, e *Engine, c reward.Config) *reward.Deployment {
	d, err := reward.Open(t.Context(), c, 1)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	require.NoError(t, e.Activate(t.Context(), d.Average(), nil))
	return d
}

// here is the same deployment on the CPU.
func here(t testing.TB, c reward.Config) (*reward.Deployment, model.CPU) {
	cpu := model.NewEngine(1)
	t.Cleanup(cpu.Close)
	c.Engine = cpu
	d, err := reward.Open(t.Context(), c, 1)
	require.NoError(t, err)
	return d, cpu
}

// texts are inputs of several lengths.
func texts() (out []reward.Input) {
	for _, answer := range []string{"A", "An answer.", "no", "No, and it is longer."} {
		prompt := "Q?"
		out = append(out, reward.Input{Prompt: &prompt, Response: answer})
	}
	return out
}

func encoded(t testing.TB, d *reward.Deployment, in []reward.Input) (out []reward.Encoded) {
	for _, x := range in {
		e, err := d.Encode(x, reward.EncodeOptions{})
		require.NoError(t, err)
		out = append(out, e)
	}
	return out
}

// sameRewards holds an engine's rewards against the CPU's.
func sameRewards(t *testing.T, e *Engine, d *reward.Deployment, c reward.Config, in []reward.Input) []float32 {
	t.Helper()
	own, cpu := here(t, c)
	assert.Equal(t, own.Revision, d.Revision, "a revision is what is computed, not where")
	want, err := own.Score(cpu, own.Average(), encoded(t, own, in))
	require.NoError(t, err)
	got, err := d.Score(e, d.Average(), encoded(t, d, in))
	require.NoError(t, err)
	// The engine sums in the same order here, but the bias is added in float32 last.
	assert.InDeltaSlice(t, want, got, 2e-6)
	return got
}

func TestRewardsAreThoseOfTheCPU(t *testing.T) {
	labels := func(n int) func(c map[string]any) {
		return func(c map[string]any) {
			ids := map[string]string{}
			for i := range n {
				ids[fmt.Sprint(i)] = fmt.Sprintf("label %d", i)
			}
			c["id2label"] = ids
		}
	}
	for _, kind := range []Kind{SGLang, VLLM} {
		for name, tc := range map[string]struct {
			edit   func(c map[string]any)
			config func(c *reward.Config)
		}{
			"one label": {},
			"qwen3": {edit: func(c map[string]any) {
				c["architectures"], c["model_type"] = []string{"Qwen3ForSequenceClassification"}, "qwen3"
			}},
			"several outputs": {edit: labels(3), config: func(c *reward.Config) { c.Output = "0.5*label 0-2*label 2" }},
			"softmax":         {edit: labels(2), config: func(c *reward.Config) { c.Output = "softmax(1)" }},
			"steps":           {config: func(c *reward.Config) { c.Pooling, c.Output = "every:1", "by mean" }}, // behind each message
			"last":            {config: func(c *reward.Config) { c.Pooling = "last" }},
			"before a token":  {config: func(c *reward.Config) { c.Pooling = "before:1" }},
			"appended":        {config: func(c *reward.Config) { c.Pooling = "append:7" }},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				a, b := decoder(t, "a", tc.edit), decoder(t, "b", tc.edit)
				s := backendtest.New(t, string(kind), a)
				e, _ := engine(t, s, kind, nil)
				c := config(e, a, b)
				if tc.config != nil {
					tc.config(&c)
				}
				d := served(t, e, c)
				sameRewards(t, e, d, c, texts())
			})
		}
	}
}

// A bias, names of another trainer's and a head that is rows of a language model's are written
// as the class has them, which engines know.
func TestEnginesAreGivenTheClassTheyKnow(t *testing.T) {
	for name, tc := range map[string]struct {
		edit   func(c *loader.Contents)
		config func(c *reward.Config)
	}{
		"a value head of OpenRLHF": {edit: renamed("RewardModel", "score", "value_head", false)},
		"a bias":                   {edit: renamed("LlamaForSequenceClassification", "score", "v_head.summary", true)},
		"another prefix": {edit: func(c *loader.Contents) {
			c.Source = names{c.Source, func(n string) string {
				if rest, ok := strings.CutPrefix(n, "model."); ok {
					return "transformer." + rest
				}
				return n
			}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rewardtest.Checkpoint(t, "other", tc.edit)
			s := backendtest.New(t, "sglang", decoder(t, "start", nil))
			e, _ := engine(t, s, SGLang, nil)
			c := config(e, dir)
			d := served(t, e, c)
			sameRewards(t, e, d, c, texts())
			data, err := os.ReadFile(s.Serves() + "/config.json")
			require.NoError(t, err)
			assert.Contains(t, string(data), `"LlamaForSequenceClassification"`)
			ckpt, err := loader.Open(s.Serves())
			require.NoError(t, err)
			defer ckpt.Close()
			assert.Contains(t, ckpt.Names(), "score.weight")
			assert.NotContains(t, ckpt.Names(), "score.bias", "which is added here")
		})
	}
}

// names is a source whose tensors are called otherwise.
type names struct {
	loader.Source
	of func(string) string
}

func (n names) Names() (out []string) {
	for _, name := range n.Source.Names() {
		out = append(out, n.of(name))
	}
	return out
}

func (n names) inner(name string) string {
	for _, own := range n.Source.Names() {
		if n.of(own) == name {
			return own
		}
	}
	return name
}

func (n names) Shape(name string) ([]int, bool) { return n.Source.Shape(n.inner(name)) }

func (n names) ReadAt(dst []float32, name string, offset int) error {
	return n.Source.ReadAt(dst, n.inner(name), offset)
}

// widened is a source whose score head has more outputs.
type widened struct {
	loader.Source
	head    []string
	outputs int
}

func (w widened) Shape(name string) ([]int, bool) {
	shape, ok := w.Source.Shape(name)
	if slices.Contains(w.head, name) {
		shape = append([]int{w.outputs}, shape[1:]...)
	}
	return shape, ok
}

func (w widened) ReadAt(dst []float32, name string, offset int) error {
	if !slices.Contains(w.head, name) {
		return w.Source.ReadAt(dst, name, offset)
	}
	for i := range dst {
		dst[i] = float32((offset+i)*7919%101-50) / 200
	}
	return nil
}

// biased is a source with a bias more.
type biased struct {
	loader.Source
	name string
}

func (b biased) Names() []string { return append(b.Source.Names(), b.name) }
func (b biased) Shape(name string) ([]int, bool) {
	if name == b.name {
		return []int{1}, true
	}
	return b.Source.Shape(name)
}

func (b biased) ReadAt(dst []float32, name string, offset int) error {
	if name == b.name {
		dst[0] = 1.25
		return nil
	}
	return b.Source.ReadAt(dst, name, offset)
}

// renamed gives a checkpoint another class and its head another name, and a bias.
func renamed(class, from, to string, bias bool) func(c *loader.Contents) {
	return func(c *loader.Contents) {
		c.Config = bytes.Replace(c.Config, []byte("LlamaForSequenceClassification"), []byte(class), 1)
		c.Source = names{c.Source, func(n string) string {
			if rest, ok := strings.CutPrefix(n, from+"."); ok {
				return to + "." + rest
			}
			return n
		}}
		if bias {
			c.Source = biased{c.Source, to + ".bias"}
		}
	}
}

// What is behind the scored token is not sent, and equal sequences are sent once.
func TestSequencesEndAtTheScoredToken(t *testing.T) {
	a := decoder(t, "a", nil)
	s := backendtest.New(t, "vllm", a)
	e, _ := engine(t, s, VLLM, nil)
	d := served(t, e, config(e, a))
	s.Asked("")
	ids := []int32{5, 6, 7, 0, 0} // 0 is padding
	out := make([]float32, 2)
	require.NoError(t, e.Score(d.Average(), out, []model.Sequence{{IDs: ids, Read: []int32{2}}, {IDs: ids[:3], Read: []int32{2}}}))
	assert.Equal(t, out[0], out[1])
	asked := s.Asked("/classify")
	require.Len(t, asked, 1)
	assert.JSONEq(t, `{"input":[[5,6,7]],"use_activation":false,"add_special_tokens":false}`, asked[0].Body)
}

func TestModelsThatEnginesComputeOtherwiseAreRefused(t *testing.T) {
	mean := func(c *reward.Config) { c.Pooling = "mean" }
	class := func(name, kind string) func(c map[string]any) {
		return func(c map[string]any) { c["architectures"], c["model_type"] = []string{name}, kind }
	}
	for name, tc := range map[string]struct {
		kind   Kind
		dir    func(t *testing.T) string
		config func(c *reward.Config)
		want   string
	}{
		"a decoder on tei": {kind: TEI, want: "it classifies with encoders alone"},
		"an encoder":       {kind: SGLang, dir: func(t *testing.T) string { return encoder(t, "x", 1) }, want: "it classifies token ids with decoders alone"},
		"token types":      {kind: VLLM, dir: func(t *testing.T) string { return encoder(t, "x", 1) }, want: "it takes no token types with ids"},
		"a mean":           {kind: VLLM, config: mean, want: "read at the mean of all tokens"},
		"another class":    {kind: VLLM, dir: func(t *testing.T) string { return decoder(t, "x", class("InternLM2ForRewardModel", "internlm2")) }, want: "InternLM2ForRewardModel has a score head of its own class"},
		"no text's lengths": {kind: SGLang, dir: func(t *testing.T) string {
			return decoder(t, "x", func(c map[string]any) { c["rope_scaling"] = map[string]any{"type": "dynamic", "factor": 2.0} })
		}, want: "its rotary embedding goes by the length of each text"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := decoder(t, "a", nil)
			if tc.dir != nil {
				dir = tc.dir(t)
			}
			e := New(Options{Kind: tc.kind, URL: "http://127.0.0.1:1", Directory: t.TempDir()})
			defer e.Close()
			c := config(e, dir)
			if tc.config != nil {
				tc.config(&c)
			}
			_, err := reward.Open(t.Context(), c, 1)
			assert.ErrorContains(t, err, tc.want)
			assert.ErrorContains(t, err, "without a backend the model is served here")
			left, err := os.ReadDir(e.o.Directory)
			require.NoError(t, err)
			assert.Empty(t, left, "nothing is written")
		})
	}
}

// A swap has the engine load the next average from a folder of its own, and keeps the folder
// before for the way back; older ones are removed.
func TestEngineIsGivenOneAverageAfterTheOther(t *testing.T) {
	for _, kind := range []Kind{SGLang, VLLM} {
		t.Run(string(kind), func(t *testing.T) {
			a, b, c := decoder(t, "a", nil), decoder(t, "b", nil), decoder(t, "c", nil)
			s := backendtest.New(t, string(kind), a)
			e, _ := engine(t, s, kind, nil)
			var folders []string
			for _, dirs := range [][]string{{a, b}, {b, c}, {a, c}} {
				of := config(e, dirs...)
				d := served(t, e, of)
				sameRewards(t, e, d, of, texts()[:1])
				folders = append(folders, s.Serves())
				d.Close()
			}
			assert.NoDirExists(t, folders[0])
			assert.DirExists(t, folders[1])
			assert.DirExists(t, folders[2])
			// What the engine has already it is not given again.
			s.Asked("")
			served(t, e, config(e, a, c))
			assert.Empty(t, append(s.Asked("/update_weights_from_disk"), s.Asked("/collective_rpc")...))
		})
	}
}

func TestDetailsOfOutputsAreGiven(t *testing.T) {
	edit := func(c map[string]any) { c["id2label"] = map[string]string{"0": "style", "1": "truth"} }
	a := decoder(t, "a", edit)
	s := backendtest.New(t, "sglang", a)
	e, _ := engine(t, s, SGLang, nil)
	c := config(e, a)
	c.Output = "style+truth"
	d := served(t, e, c)
	x := encoded(t, d, texts()[:1])
	want := reward.Want{Attributes: true}
	require.NoError(t, d.Offers(want))
	d.Ask(&x[0], want)
	r, err := d.Score(e, d.Average(), x)
	require.NoError(t, err)
	got := d.Details(d.Average(), &x[0], want).Attributes
	require.Len(t, got, 2)
	assert.InDelta(t, float64(r[0]), float64(got[0])+float64(got[1]), 1e-6)
	assert.ErrorContains(t, d.Offers(reward.Want{Trajectory: true}), "outputs of the scored token alone")
}

func TestLoadIsInterrupted(t *testing.T) {
	a := decoder(t, "a", nil)
	e := New(Options{Kind: VLLM, URL: "http://127.0.0.1:1", Directory: t.TempDir()})
	defer e.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(assert.AnError)
	_, err := reward.Open(ctx, config(e, a), 1)
	assert.ErrorIs(t, err, assert.AnError)
}
