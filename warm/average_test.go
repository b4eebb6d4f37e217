package warm

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
)

// shared returns a path in the reference material, and skips the test where that is absent.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		require.NoError(t, err)
		for !fileExists(filepath.Join(dir, "go.mod")) {
			require.NotEqual(t, dir, filepath.Dir(dir), "no go.mod above the test")
			dir = filepath.Dir(dir)
		}
		root = filepath.Join(dir, "..", "shared")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if !fileExists(path) {
		t.Skipf("reference material is absent: %s (set WARM_SHARED)", path)
	}
	return path
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// open opens a checkpoint for the length of a test.
func open(t testing.TB, dir string) *loader.Checkpoint {
	t.Helper()
	c, err := loader.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

// sources opens the four golden members.
func sources(t testing.TB) []Member {
	t.Helper()
	var out []Member
	for _, s := range []string{"source0", "source1", "source2", "source3"} {
		out = append(out, Member{Name: s, Checkpoint: open(t, shared(t, "goldens", "merge-average", s))})
	}
	return out
}

// values reads a whole tensor.
func values(t testing.TB, s loader.Source, name string) []float32 {
	t.Helper()
	shape, ok := s.Shape(name)
	require.True(t, ok, name)
	n := 1
	for _, d := range shape {
		n *= d
	}
	out := make([]float32, n)
	require.NoError(t, s.ReadAt(out, name, 0))
	return out
}

// assertSameBits compares two sources; ulps is how far the values may be apart.
func assertSameBits(t testing.TB, want, got loader.Source, ulps uint32) {
	t.Helper()
	require.Equal(t, want.Names(), got.Names())
	for _, name := range want.Names() {
		w, g := values(t, want, name), values(t, got, name)
		require.Len(t, g, len(w))
		for i := range w {
			a, b := math.Float32bits(w[i]), math.Float32bits(g[i])
			if max(a, b)-min(a, b) > ulps {
				t.Fatalf("%s[%d] is %v (%#x), want %v (%#x)", name, i, g[i], b, w[i], a)
			}
		}
	}
}

// build writes and opens a checkpoint of vectors and matrices that hold the given values.
func build(t testing.TB, config string, tensors map[string][]float32, files map[string]string) *loader.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	var specs []safetensors.Spec
	for name, v := range tensors {
		specs = append(specs, safetensors.Spec{Name: name, DType: safetensors.F32, Shape: []int{1, len(v)}})
	}
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), specs, nil, func(w io.Writer, s safetensors.Spec) error {
		b := make([]byte, 4*len(tensors[s.Name]))
		safetensors.EncodeF32(b, tensors[s.Name])
		_, err := w.Write(b)
		return err
	}))
	if files == nil {
		files = map[string]string{}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return open(t, dir)
}

func TestAverageEqualsTheGolden(t *testing.T) {
	golden := open(t, shared(t, "goldens", "merge-average"))
	a, err := NewAverage(sources(t), Options{})
	require.NoError(t, err)
	// The golden is the float64 mean, rounded once: so is ours.
	assertSameBits(t, golden, a, 0)
	assert.Empty(t, a.Skipped())
	assert.Empty(t, a.Warnings())
}

func TestInterpolationEqualsTheGolden(t *testing.T) {
	golden := open(t, shared(t, "goldens", "merge-interpolate"))
	m := sources(t)
	a, err := Interpolate(m[0].Checkpoint, m[1].Checkpoint, 0.3)
	require.NoError(t, err)
	assertSameBits(t, golden, a, 0)
}

func TestInterpolationEndsAtItsMembers(t *testing.T) {
	m := sources(t)
	for i, lambda := range []float64{0, 1} {
		a, err := Interpolate(m[0].Checkpoint, m[1].Checkpoint, lambda)
		require.NoError(t, err)
		assertSameBits(t, m[i].Checkpoint, a, 0)
	}
	for _, lambda := range []float64{-0.1, 1.1, math.NaN()} {
		_, err := Interpolate(m[0].Checkpoint, m[1].Checkpoint, lambda)
		assert.ErrorIs(t, err, ErrWeight)
	}
}

func TestAverageOfOneIsItself(t *testing.T) {
	m := sources(t)
	for _, weight := range []float64{0, 3} {
		a, err := NewAverage([]Member{{Checkpoint: m[2].Checkpoint, Weight: weight}}, Options{})
		require.NoError(t, err)
		assertSameBits(t, m[2].Checkpoint, a, 0)
	}
	odd := []float32{math.Float32frombits(0xffc12345), math.Float32frombits(0x7f812345), float32(math.Copysign(0, -1)), float32(math.Inf(1)), math.SmallestNonzeroFloat32}
	c := build(t, "{}", map[string][]float32{"w": odd}, nil)
	a, err := NewAverage([]Member{{Checkpoint: c}}, Options{})
	require.NoError(t, err)
	assertSameBits(t, c, a, 0)
}

func TestAverageOfCopiesIsTheCopy(t *testing.T) {
	c := sources(t)[1].Checkpoint
	for k := 2; k <= 13; k++ {
		var equal, weighted []Member
		for i := range k {
			name := string(rune('a' + i))
			equal = append(equal, Member{Name: name, Checkpoint: c})
			weighted = append(weighted, Member{Name: name, Checkpoint: c, Weight: float64(i) + 0.1})
		}
		for _, members := range [][]Member{equal, weighted} {
			a, err := NewAverage(members, Options{})
			require.NoError(t, err)
			assertSameBits(t, c, a, 0)
			assert.Len(t, a.Warnings(), k-1, "each copy is reported once")
			assert.Equal(t, WarnDuplicate, a.Warnings()[0].Kind)
		}
	}
}

func TestAPermutationOfMembersChangesNothing(t *testing.T) {
	m := sources(t)
	for i, w := range []float64{0.5, 1, 2, 0.25} {
		m[i].Weight = w
	}
	base := m[0].Checkpoint
	for _, opts := range []Options{{}, {Base: base, Alpha: new(0.7)}} {
		want, err := NewAverage(m, opts)
		require.NoError(t, err)
		wantRevision, err := RevisionOf(want, map[string][]byte{"config.json": want.Config()}, 2)
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(5, 6))
		for range 10 {
			p := slices.Clone(m)
			rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
			got, err := NewAverage(p, opts)
			require.NoError(t, err)
			revision, err := RevisionOf(got, map[string][]byte{"config.json": got.Config()}, 3)
			require.NoError(t, err)
			assert.Equal(t, wantRevision, revision)
		}
	}
}

func TestRenamingMembersOfEqualWeightChangesNothing(t *testing.T) {
	// Here the order of the sums changes, and only their exactness keeps the result: see the package comment.
	m := sources(t)
	want, err := NewAverage(m, Options{})
	require.NoError(t, err)
	for shift := 1; shift < len(m); shift++ {
		p := slices.Clone(m)
		for i := range p {
			p[i].Checkpoint = m[(i+shift)%len(m)].Checkpoint
		}
		got, err := NewAverage(p, Options{})
		require.NoError(t, err)
		assertSameBits(t, want, got, 0)
	}
}

func TestAlphaGoesFromTheBaseToTheAverage(t *testing.T) {
	m := sources(t)
	base, members := m[0].Checkpoint, m[1:]
	at := func(alpha float64) *Average {
		a, err := NewAverage(members, Options{Alpha: &alpha, Base: base, Extrapolate: true})
		require.NoError(t, err)
		return a
	}
	assertSameBits(t, base, at(0), 0)
	plain, err := NewAverage(members, Options{})
	require.NoError(t, err)
	one, err := NewAverage(members, Options{Alpha: new(1.0)})
	require.NoError(t, err)
	assertSameBits(t, plain, one, 0)

	// Between and beyond, against the formula as it is written in float64.
	for _, alpha := range []float64{0.3, 0.99, 1.5, -0.5} {
		got := at(alpha)
		for _, name := range got.Names() {
			b, g := values(t, base, name), values(t, got, name)
			var xs [3][]float32
			for k := range xs {
				xs[k] = values(t, members[k].Checkpoint, name)
			}
			for i := range g {
				mean := (float64(xs[0][i]) + float64(xs[1][i]) + float64(xs[2][i])) / 3
				want := float64(b[i]) + alpha*(mean-float64(b[i]))
				// Both sums round some times in float64, relative to their largest term, and once in float32.
				size := math.Abs(float64(b[i])) + math.Abs(float64(xs[0][i])) + math.Abs(float64(xs[1][i])) + math.Abs(float64(xs[2][i]))
				require.InDelta(t, want, g[i], math.Abs(want)*0x1p-24+size*0x1p-50, "alpha %v %s[%d]", alpha, name, i)
			}
		}
	}
}

func TestAverageRefusesItsArguments(t *testing.T) {
	m := sources(t)
	nan, inf := math.NaN(), math.Inf(1)
	weigh := func(ws ...float64) []Member {
		out := slices.Clone(m[:len(ws)])
		for i, w := range ws {
			out[i].Weight = w
		}
		return out
	}
	base := m[3].Checkpoint
	tests := []struct {
		name    string
		members []Member
		opts    Options
		want    error
	}{
		{"no members", nil, Options{}, ErrNoMembers},
		{"a member without a checkpoint", []Member{{Name: "x"}}, Options{}, ErrNoMembers},
		{"two members of one name", []Member{m[0], m[0]}, Options{}, ErrMemberName},
		{"a NaN", weigh(1, nan), Options{Extrapolate: true}, ErrWeight},
		{"an infinity", weigh(1, inf), Options{Extrapolate: true}, ErrWeight},
		{"a negative weight", weigh(1, -0.5), Options{}, ErrWeight},
		{"a negative sum", weigh(1, -2), Options{Extrapolate: true}, ErrWeight},
		{"a sum of zero", weigh(1, -1), Options{Extrapolate: true}, ErrWeight},
		{"a sum that overflows", weigh(math.MaxFloat64, math.MaxFloat64), Options{}, ErrWeight},
		{"a weight that was forgotten", weigh(1, 0, 1), Options{}, ErrWeight},
		{"alpha without a base", m, Options{Alpha: new(0.5)}, ErrBase},
		{"a base without a use", m, Options{Base: base}, ErrBase},
		{"alpha NaN", m, Options{Alpha: &nan, Base: base}, ErrAlpha},
		{"alpha beyond 1", m, Options{Alpha: new(1.1), Base: base}, ErrAlpha},
		{"alpha below 0", m, Options{Alpha: new(-0.1), Base: base}, ErrAlpha},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewAverage(tt.members, tt.opts)
			assert.ErrorIs(t, err, tt.want)
		})
	}
	t.Run("but extrapolates when asked", func(t *testing.T) {
		a, err := NewAverage(weigh(3, -1), Options{Extrapolate: true})
		require.NoError(t, err)
		name := a.Names()[0]
		x, y, g := values(t, m[0].Checkpoint, name), values(t, m[1].Checkpoint, name), values(t, a, name)
		for i := range g {
			require.Equal(t, float32(1.5*float64(x[i])-0.5*float64(y[i])), g[i])
		}
	})
}

func TestReadsDoNotDependOnTheirPieces(t *testing.T) {
	// One member is in bfloat16, so that both paths, with and without a conversion, are in one average.
	m := []Member{{Name: "f32", Checkpoint: open(t, shared(t, "goldens", "llama-gqa"))}, {Name: "bf16", Checkpoint: open(t, shared(t, "goldens", "llama-bf16"))}}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	const name = "model.embed_tokens.weight"
	want := values(t, a, name)
	require.Greater(t, len(want), 2*convertBlock)
	full, half := values(t, m[0].Checkpoint, name), values(t, m[1].Checkpoint, name)
	for i := range want {
		require.Equal(t, float32((float64(full[i])+float64(half[i]))/2), want[i])
	}
	for _, step := range []int{1, 7, 33, 4095, 4097, len(want)} {
		got := make([]float32, len(want))
		var wg sync.WaitGroup
		for at := 0; at < len(got); at += step {
			if step < 33 && at > 500 { // Small steps show what they can in a part.
				copy(got[at:], want[at:])
				break
			}
			wg.Go(func() { assert.NoError(t, a.ReadAt(got[at:min(at+step, len(got))], name, at)) })
		}
		wg.Wait()
		require.Equal(t, want, got, "step %d", step)
	}
	assert.Error(t, a.ReadAt(want, name, 1))
	assert.Error(t, a.ReadAt(want[:1], name, -1))
	assert.ErrorIs(t, a.ReadAt(want[:1], "none", 0), loader.ErrNoTensor)
}

func TestAverageOfRealModelsSavesAndOpensWithTheSameBits(t *testing.T) {
	var m []Member
	for _, n := range []string{"1", "2", "3", "4"} {
		m = append(m, Member{Checkpoint: open(t, shared(t, "models", "rm-paradetox-"+n))})
	}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	assert.Empty(t, a.Warnings())
	out := filepath.Join(t.TempDir(), "wa")
	require.NoError(t, loader.Save(out, a.Contents()))
	c := open(t, out)
	assertSameBits(t, a, c, 0)
	assert.Equal(t, a.Tokenizer(), c.Tokenizer)
	assert.Equal(t, a.TokenizerConfig(), c.TokenizerConfig)
	assert.Equal(t, a.SpecialTokensMap(), c.SpecialTokensMap)
	assert.Equal(t, a.ChatTemplate(), c.ChatTemplate)

	ra, err := RevisionOf(a, nil, 2)
	require.NoError(t, err)
	rc, err := RevisionOf(c, nil, 1)
	require.NoError(t, err)
	assert.Equal(t, ra, rc, "the weights have one revision, wherever they are")

	d, err := Diagnose(m)
	require.NoError(t, err)
	assert.Empty(t, d.Warnings)
	require.Len(t, d.Pairs, 6)
	for _, p := range d.Pairs {
		t.Logf("%+v", p)
		assert.Greater(t, p.Lowest, 0.8, "these members share their initialisation")
		assert.Greater(t, p.Head, 0.8, "and their probed head")
	}
}

func TestSavingAnAverageNeedsLittleMemory(t *testing.T) {
	// 3 members of 16 MB; the heap may hold the buffers of the writer, not a tensor.
	big := make([]float32, 4<<20)
	for i := range big {
		big[i] = float32(i)
	}
	var m []Member
	for _, name := range []string{"a", "b", "c"} {
		m = append(m, Member{Name: name, Checkpoint: build(t, "{}", map[string][]float32{"w": big}, nil)})
	}
	big = nil
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	require.NoError(t, loader.Save(filepath.Join(t.TempDir(), "wa"), a.Contents()))
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "bytes allocated while averaging and saving 48 MB of members")
}

func TestAnAverageSurvivesAFileThatShrinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on this system")
	}
	var m []Member
	for _, name := range []string{"a", "b"} {
		m = append(m, Member{Name: name, Checkpoint: build(t, "{}", map[string][]float32{"w": make([]float32, 1<<16)}, nil)})
	}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(m[1].Checkpoint.Dir, "model.safetensors"), 8192))
	require.ErrorIs(t, a.ReadAt(make([]float32, 1<<16), "w", 0), loader.ErrShrunk)
	assert.NoError(t, a.ReadAt(make([]float32, 100), "w", 0), "what is still there is still averaged")
}

func TestNormalisationOfMembersIsDropped(t *testing.T) {
	w := map[string][]float32{"w": {1, 2}}
	plain := build(t, `{"a": 1}`, w, nil)
	scaled := build(t, `{"a": 1, "mean": 0.5, "std": 2.0}`, w, nil)
	a, err := NewAverage([]Member{{Name: "1", Checkpoint: scaled}, {Name: "2", Checkpoint: plain}}, Options{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"a": 1}`, string(a.Config()))
	require.NotEmpty(t, a.Warnings())
	assert.Equal(t, WarnNormalisation, a.Warnings()[0].Kind)
	assert.Equal(t, []string{"1"}, a.Warnings()[0].Members)
	one, err := NewAverage([]Member{{Checkpoint: scaled}}, Options{})
	require.NoError(t, err)
	assert.True(t, bytes.Equal(scaled.Config, one.Config()), "a model alone keeps its own")
}

func TestBuffersAreKnownByName(t *testing.T) {
	for name, want := range map[string]bool{
		"transformer.h.0.attn.bias": true, "transformer.h.0.attn.masked_bias": true,
		"gpt_neox.layers.3.attention.bias": true, "gpt_neox.layers.3.attention.masked_bias": true,
		"gpt_neox.layers.3.attention.rotary_emb.inv_freq": true, "model.rotary_emb.inv_freq": true,
		"model.rotary_emb.original_inv_freq": true, "model.layers.0.self_attn.rotary_emb.cos_cached": true,
		"bert.embeddings.position_ids": true, "roberta.embeddings.token_type_ids": true,
		"transformer.h.0.attn.c_attn.bias": false, "gpt_neox.layers.3.attention.dense.bias": false,
		"bert.embeddings.position_embeddings.weight": false, "bert.encoder.layer.0.attention.output.dense.bias": false,
		"score.weight": false, "crossattn.bias": false,
	} {
		assert.Equal(t, want, isBuffer(name), name)
	}
}

func TestAbsentFieldsMeanTheirDefaults(t *testing.T) {
	for _, tt := range []struct{ name, short, long string }{
		{"the rotated share of GPT-NeoX", `{"model_type":"gpt_neox"}`, `{"model_type":"gpt_neox","rotary_pct":0.25,"rotary_emb_base":10000}`},
		{"the whole head elsewhere", `{"model_type":"llama"}`, `{"model_type":"llama","rope_parameters":{"partial_rotary_factor":1.0,"rope_theta":1e4}}`},
		{"the early spelling of a scaling", `{"model_type":"llama","rope_scaling":{"type":"linear","factor":2}}`, `{"model_type":"llama","rope_scaling":{"rope_type":"linear","factor":2.0}}`},
		{"the head size", `{"hidden_size":64,"num_attention_heads":4}`, `{"hidden_size":64,"num_attention_heads":4,"head_dim":16,"num_key_value_heads":4}`},
		{"a null", `{"a":null}`, `{}`},
		{"the number of labels", `{}`, `{"num_labels":2}`},
		{"names of labels", `{"id2label":{"0":"good"}}`, `{"num_labels":1}`},
		{"the global base for a local null", `{"model_type":"modernbert","global_rope_theta":5,"local_rope_theta":null}`, `{"model_type":"modernbert","global_rope_theta":5,"local_rope_theta":5}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := canonicalConfig([]byte(tt.short))
			require.NoError(t, err)
			b, err := canonicalConfig([]byte(tt.long))
			require.NoError(t, err)
			assert.Empty(t, differences(a, b))
		})
	}
}

func TestBuffersAreLeftOut(t *testing.T) {
	m := build(t, "{}", map[string][]float32{"h.0.attn.bias": {1}, "h.0.xattn.bias": {2}, "rotary_emb.inv_freq": {3}, "w": {4},
		"bert.embeddings.position_ids": {0}}, nil)
	a, err := NewAverage([]Member{{Checkpoint: m}}, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"h.0.xattn.bias", "w"}, a.Names())
	assert.Equal(t, []string{"bert.embeddings.position_ids", "h.0.attn.bias", "rotary_emb.inv_freq"}, a.Skipped())
}

func TestEveryReasonIsReportedAtOnce(t *testing.T) {
	const config = `{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","hidden_size":4,"vocab_size":5,"rope_theta":10000.0,"id2label":{"0":"a"}}`
	good := build(t, config, map[string][]float32{"score.weight": {1}, "w": {1, 2}, "gone": {1}}, map[string]string{
		"tokenizer.json": `{"model":{"vocab":{"a":0}}}`, "tokenizer_config.json": `{"eos_token":"</s>","chat_template":"x"}`})
	bad := build(t, strings.NewReplacer(`"vocab_size":5`, `"vocab_size":6`, "10000.0", "500000.0").Replace(config),
		map[string][]float32{"w": {1, 2, 3}, "extra": {1}}, map[string]string{
			"tokenizer.json": `{"model":{"vocab":{"b":0}}}`, "tokenizer_config.json": `{"eos_token":{"content":"<eos>"},"chat_template":"y"}`})
	_, err := NewAverage([]Member{{Name: "good", Checkpoint: good}, {Name: "zbad", Checkpoint: bad}}, Options{})
	var e *IncompatibleError
	require.ErrorAs(t, err, &e)
	got := map[Aspect]int{}
	for _, r := range e.Reasons {
		got[r.Aspect]++
		assert.Equal(t, "zbad", r.Member)
	}
	assert.Equal(t, map[Aspect]int{AspectConfig: 2, AspectTensors: 2, AspectShapes: 1, AspectScoreHead: 1, AspectTokenizer: 1,
		AspectSpecialTokens: 1, AspectChatTemplate: 1}, got)
	for _, s := range []string{"vocab_size is 6, want 5", "500000", "gone", "extra", "w [1 3], want [1 2]", "score.weight", "eos_token is <eos>, want </s>"} {
		assert.Contains(t, err.Error(), s)
	}
}

func TestQuantisedTensorsAreRefused(t *testing.T) {
	dir := t.TempDir()
	specs := []safetensors.Spec{{Name: "q.weight", DType: "I8", Shape: []int{1}}, {Name: "embeddings.position_ids", DType: "I64", Shape: []int{1}}}
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), specs, nil, func(w io.Writer, s safetensors.Spec) error {
		n, _ := s.Bytes()
		_, err := w.Write(make([]byte, n))
		return err
	}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600))
	_, err := NewAverage([]Member{{Name: "m", Checkpoint: open(t, dir)}}, Options{})
	var e *IncompatibleError
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Reasons, 1)
	assert.Equal(t, Reason{Member: "m", Aspect: AspectElements, Items: []string{"q.weight (I8)"},
		Detail: "not floating and no known buffer; quantised weights cannot be averaged:"}, e.Reasons[0])
}

func TestConfigsOfBothVersionsOfTransformersAgree(t *testing.T) {
	root := shared(t, "goldens")
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	compared := 0
	byVariant := map[string]map[string]string{}
	for _, e := range entries {
		for _, other := range []string{"config.v4.json", "config.v5.json"} {
			b, err := os.ReadFile(filepath.Join(root, e.Name(), other))
			if err != nil {
				continue
			}
			compared++
			t.Run(e.Name(), func(t *testing.T) {
				a, err := os.ReadFile(filepath.Join(root, e.Name(), "config.json"))
				require.NoError(t, err)
				want, err := canonicalConfig(a)
				require.NoError(t, err)
				got, err := canonicalConfig(b)
				require.NoError(t, err)
				assert.Empty(t, differences(got, want))
				byVariant[e.Name()] = want
			})
		}
	}
	assert.Greater(t, compared, 20)
	// And no two variants, which all compute something else, look the same.
	for a, x := range byVariant {
		for b, y := range byVariant {
			if a < b {
				assert.NotEmpty(t, differences(x, y), "%s and %s", a, b)
			}
		}
	}
}

func TestEveryFieldThatCountsIsCompared(t *testing.T) {
	config, err := os.ReadFile(shared(t, "goldens", "llama-rope3", "config.json"))
	require.NoError(t, err)
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(config, &fields))
	want, err := canonicalConfig(config)
	require.NoError(t, err)
	for name, raw := range fields {
		changed := json.RawMessage(`"other"`)
		switch {
		case raw[0] == '{':
			changed = json.RawMessage(`{"factor":2.0,"1":"x","2":"y"}`)
		case raw[0] >= '0' && raw[0] <= '9':
			changed = json.RawMessage("123456")
		case string(raw) == "true":
			changed = json.RawMessage("false")
		case string(raw) == "false":
			changed = json.RawMessage("true")
		}
		b, err := loader.EditObject(config, map[string]json.RawMessage{name: changed})
		require.NoError(t, err)
		got, err := canonicalConfig(b)
		require.NoError(t, err)
		_, ignored := ignoredFields[name]
		ignored = ignored && name != "id2label" || strings.Contains(name, "dropout")
		assert.Equal(t, ignored, len(differences(got, want)) == 0, "field %s", name)
	}
}

func TestTokenizersAreComparedByMeaning(t *testing.T) {
	base := `{"truncation":null,"padding":null,"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}`
	want, err := tokenizerDigest([]byte(base))
	require.NoError(t, err)
	for _, tt := range []struct {
		name, json string
		same       bool
	}{
		{"other formatting and order", `{ "model": {"merges": ["a b"], "vocab": {"b": 1, "a": 0}, "type": "BPE"} }`, true},
		{"truncation set", strings.Replace(base, `"truncation":null`, `"truncation":{"max_length":5}`, 1), true},
		{"merges as pairs", strings.Replace(base, `"a b"`, `["a","b"]`, 1), true},
		{"another id", strings.Replace(base, `"b":1`, `"b":2`, 1), false},
		{"another merge", strings.Replace(base, `"a b"`, `"b a"`, 1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tokenizerDigest([]byte(tt.json))
			require.NoError(t, err)
			assert.Equal(t, tt.same, got == want)
		})
	}
}

func TestSpecialTokensAreComparedByRole(t *testing.T) {
	got, err := specialTokens([]byte(`{"bos_token":{"content":"<s>"},"eos_token":null,"add_bos_token":true}`), []byte(`{"eos_token":"</s>","bos_token":"other"}`))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": "true"}, got)
	w := map[string][]float32{"w": {1}}
	a := build(t, "{}", w, map[string]string{"tokenizer_config.json": `{"add_bos_token":true}`})
	b := build(t, "{}", w, map[string]string{"tokenizer_config.json": `{}`})
	c := build(t, "{}", w, map[string]string{"tokenizer_config.json": `{"add_bos_token":false}`})
	_, err = NewAverage([]Member{{Checkpoint: a}, {Checkpoint: b}}, Options{})
	assert.NoError(t, err, "an absent flag is no statement")
	_, err = NewAverage([]Member{{Checkpoint: a}, {Checkpoint: c}}, Options{})
	assert.ErrorContains(t, err, "add_bos_token")
}
