package loader

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// matrix is a tensor of a test.
type matrix struct {
	name   string
	dtype  safetensors.DType // "" is F32
	shape  []int
	values []float32 // nil for numbers that depend on the name and the place
}

// numbers are reproducible, of both signs and of many sizes, and exact in bfloat16.
func numbers(name string, n int) []float32 {
	out := make([]float32, n)
	state := uint32(2166136261)
	for _, c := range name {
		state = (state ^ uint32(c)) * 16777619
	}
	for i := range out {
		state = state*1664525 + 1013904223
		out[i] = float32(int32(state)>>24) * float32(math.Pow(2, float64(int(state>>8&7)-10)))
	}
	return out
}

func writeMatrices(t testing.TB, path string, tensors []matrix) {
	t.Helper()
	var specs []safetensors.Spec
	data := map[string][]byte{}
	for _, m := range tensors {
		s := safetensors.Spec{Name: m.name, DType: safetensors.F32, Shape: m.shape}
		if m.dtype != "" {
			s.DType = m.dtype
		}
		n := 1
		for _, d := range m.shape {
			n *= d
		}
		v := m.values
		if v == nil {
			v = numbers(m.name, n)
		}
		b := make([]byte, n*s.DType.Bits()/8)
		switch s.DType {
		case safetensors.F32:
			safetensors.EncodeF32(b, v)
		case safetensors.BF16:
			safetensors.EncodeBF16(b, v)
		}
		specs, data[m.name] = append(specs, s), b
	}
	require.NoError(t, safetensors.WriteFile(path, specs, map[string]string{"format": "pt"}, func(w io.Writer, s safetensors.Spec) error {
		_, err := w.Write(data[s.Name])
		return err
	}))
}

const (
	testOut, testIn, testRank = 5, 300, 6 // two blocks of columns; four rows of A at a time and two alone
	testTokens                = `{"added_tokens":[{"id":7,"content":"<pad>"}],"model":{}}`
)

// writeBase writes a language model of two changed matrices.
func writeBase(t testing.TB, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	writeMatrices(t, filepath.Join(dir, weightsFile), []matrix{
		{name: "model.embed_tokens.weight", shape: []int{4, testIn}, dtype: safetensors.BF16},
		{name: "model.layers.0.q_proj.weight", shape: []int{testOut, testIn}, dtype: safetensors.BF16},
		{name: "model.layers.1.q_proj.weight", shape: []int{testOut, testIn}},
		{name: "model.norm.weight", shape: []int{testIn}},
		{name: "lm_head.weight", shape: []int{4, testIn}},
	})
	for name, text := range map[string]string{
		configFile:          `{"architectures":["LlamaForCausalLM"],"hidden_size":300,"vocab_size":4}`,
		tokenizerFile:       testTokens,
		tokenizerConfigFile: `{"pad_token":"<pad>","chat_template":"of the base"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}

// adapterTensors are those of an adapter over writeBase's model.
func adapterTensors() []matrix {
	out := []matrix{{name: "base_model.model.score.weight", shape: []int{1, testIn}}}
	for _, module := range []string{"model.layers.0.q_proj", "model.layers.1.q_proj"} {
		out = append(out,
			matrix{name: "base_model.model." + module + ".lora_A.weight", shape: []int{testRank, testIn}},
			matrix{name: "base_model.model." + module + ".lora_B.weight", shape: []int{testOut, testRank}})
	}
	return out
}

// options is an adapter_config.json.
type options map[string]any

func adapterOptions() options {
	return options{"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "../base", "r": testRank,
		"lora_alpha": 3, "target_modules": []string{"q_proj"}, "modules_to_save": []string{"score"}, "bias": "none"}
}

// writeAdapter writes an adapter beside its base and returns its directory.
func writeAdapter(t testing.TB, o options, tensors []matrix) string {
	t.Helper()
	parent := t.TempDir()
	writeBase(t, filepath.Join(parent, "base"))
	return writeAdapterTo(t, filepath.Join(parent, "adapter"), o, tensors)
}

func writeAdapterTo(t testing.TB, dir string, o options, tensors []matrix) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	raw, err := json.Marshal(o)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), raw, 0o600))
	writeMatrices(t, filepath.Join(dir, adapterWeightsFile), tensors)
	return dir
}

func mustOpen(t testing.TB, dir string) *Checkpoint {
	t.Helper()
	c, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAnAdapterIsTheModelThatPEFTMerges(t *testing.T) {
	got, want := mustOpen(t, shared(t, "goldens", "lora", "adapter")), mustOpen(t, shared(t, "goldens", "lora", "merged"))
	assertSameTensors(t, want, got) // The golden's sum is in float64 and rounded once, as ours.
	assert.JSONEq(t, string(want.Config), string(got.Config))
}

// merged is the specification: W + scale·B·A for a whole matrix.
func merged(w, a, b []float32, rank int, scale float64) []float32 {
	in := len(a) / rank
	out := make([]float32, len(w))
	for i := range out {
		sum := 0.0
		for k := range rank {
			sum += float64(b[i/in*rank+k]) * float64(a[k*in+i%in])
		}
		out[i] = float32(float64(w[i]) + float64(scale*sum))
	}
	return out
}

func TestAnAdapterAddsItsScaledProduct(t *testing.T) {
	const layer0, layer1 = "model.layers.0.q_proj", "model.layers.1.q_proj"
	root := 3 / math.Sqrt(testRank)
	for _, c := range []struct {
		name   string
		edit   func(o options)
		scales map[string]float64
	}{
		{"by alpha over rank", func(options) {}, map[string]float64{layer0: 3.0 / testRank, layer1: 3.0 / testRank}},
		{"by alpha over the root of the rank", func(o options) { o["use_rslora"] = true }, map[string]float64{layer0: root, layer1: root}},
		{"with another alpha for a module", func(o options) { o["alpha_pattern"] = options{"layers.1.q_proj": 12} }, map[string]float64{layer0: 3.0 / testRank, layer1: 12.0 / testRank}},
		{"with another rank for a module", func(o options) {
			o["r"], o["rank_pattern"] = 1, options{`layers\.[01]\.q_proj`: testRank}
		}, map[string]float64{layer0: 3.0 / testRank, layer1: 3.0 / testRank}},
		{"to the modules of a pattern", func(o options) { o["target_modules"] = `.*\.q_proj` }, map[string]float64{layer0: 3.0 / testRank, layer1: 3.0 / testRank}},
		{"to all linear layers", func(o options) { o["target_modules"] = "all-linear" }, map[string]float64{layer0: 3.0 / testRank, layer1: 3.0 / testRank}},
	} {
		for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.BF16} {
			t.Run(c.name+" of "+string(dtype), func(t *testing.T) {
				o, tensors := adapterOptions(), adapterTensors()
				c.edit(o)
				for i := range tensors {
					tensors[i].dtype = dtype
				}
				dir := writeAdapter(t, o, tensors)
				got, base := mustOpen(t, dir), mustOpen(t, filepath.Join(dir, "..", "base"))
				for module, scale := range c.scales {
					a, b := numbers(adapterPrefix+module+lowASuffix, testRank*testIn), numbers(adapterPrefix+module+lowBSuffix, testOut*testRank)
					want := merged(values(t, base, module+".weight"), a, b, testRank, scale)
					require.Equal(t, bitsOf(want), bitsOf(values(t, got, module+".weight")))
				}
				require.Equal(t, values(t, base, "model.norm.weight"), values(t, got, "model.norm.weight"))
				require.Equal(t, numbers("base_model.model.score.weight", testIn), values(t, got, "score.weight"))
			})
		}
	}
}

func TestAnAdapterWithoutChangeIsItsBase(t *testing.T) {
	tensors := adapterTensors()
	for i := range tensors {
		if tensors[i].shape[1] == testRank {
			tensors[i].values = make([]float32, testOut*testRank)
		}
	}
	dir := writeAdapter(t, adapterOptions(), tensors)
	got, base := mustOpen(t, dir), mustOpen(t, filepath.Join(dir, "..", "base"))
	assert.Equal(t, base.Dir, got.Base)
	assert.Empty(t, base.Base)
	for _, name := range got.Names() {
		if name != "score.weight" {
			assert.Equal(t, bitsOf(values(t, base, name)), bitsOf(values(t, got, name)), name)
		}
	}
}

func TestPiecesOfAnAdapterAreThoseOfTheWhole(t *testing.T) {
	c := mustOpen(t, writeAdapter(t, adapterOptions(), adapterTensors()))
	const name = "model.layers.0.q_proj.weight"
	whole := values(t, c, name)
	for _, n := range []int{1, 2, 255, 256, 257, 299, 300, 301, 700, len(whole)} {
		for at := 0; at+n <= len(whole); at += max(1, n/3) {
			piece := make([]float32, n)
			require.NoError(t, c.ReadAt(piece, name, at))
			require.Equal(t, whole[at:at+n], piece, "%d from %d", n, at)
		}
	}
	assert.ErrorIs(t, c.ReadAt(make([]float32, 2), name, len(whole)-1), safetensors.ErrRange)
	buf := make([]float32, 400)
	assert.Zero(t, testing.AllocsPerRun(10, func() { _ = c.ReadAt(buf, name, 100) }))
}

func TestAnAdapterOverALanguageModelIsAClassifier(t *testing.T) {
	c := mustOpen(t, writeAdapter(t, adapterOptions(), adapterTensors()))
	assert.JSONEq(t, `{"architectures":["LlamaForSequenceClassification"],"hidden_size":300,"vocab_size":4,"num_labels":1,
		"id2label":{"0":"LABEL_0"},"label2id":{"LABEL_0":0},"pad_token_id":7}`, string(c.Config))
	assert.Equal(t, []string{"model.embed_tokens.weight", "model.layers.0.q_proj.weight", "model.layers.1.q_proj.weight", "model.norm.weight", "score.weight"}, c.Names())
	assert.Equal(t, "F32", c.DType("model.layers.0.q_proj.weight"), "what is computed is float32")
	assert.Equal(t, "BF16", c.DType("model.embed_tokens.weight"))
	_, ok := c.View("model.layers.1.q_proj.weight")
	assert.False(t, ok, "its values lie nowhere")
	_, ok = c.Raw("model.layers.1.q_proj.weight")
	assert.False(t, ok, "its bytes lie nowhere")
	c.Prefetch("model.layers.1.q_proj.weight")
	c.Release("model.layers.1.q_proj.weight")

	t.Run("unless it is one for language models", func(t *testing.T) {
		o := adapterOptions()
		o["task_type"], o["modules_to_save"] = "CAUSAL_LM", nil
		dir := writeAdapter(t, o, adapterTensors()[1:])
		c := mustOpen(t, dir)
		assert.Equal(t, mustOpen(t, filepath.Join(dir, "..", "base")).Config, c.Config)
		assert.Contains(t, c.Names(), "lm_head.weight")
	})
}

func TestAnAdapterSavesAsTheModelThatItIs(t *testing.T) {
	c := mustOpen(t, writeAdapter(t, adapterOptions(), adapterTensors()))
	out := filepath.Join(t.TempDir(), "merged")
	require.NoError(t, Save(out, Contents{Config: c.Config, Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig, Source: c}))
	assertSameTensors(t, c, mustOpen(t, out))
}

func TestTheTextFilesOfAnAdapterGoBeforeThoseOfItsBase(t *testing.T) {
	dir := writeAdapter(t, adapterOptions(), adapterTensors())
	assert.Equal(t, "of the base", mustOpen(t, dir).ChatTemplate)
	require.NoError(t, os.WriteFile(filepath.Join(dir, tokenizerFile), []byte(`{"own":1}`), 0o600))
	c := mustOpen(t, dir)
	assert.JSONEq(t, `{"own":1}`, string(c.Tokenizer))
	assert.Empty(t, c.ChatTemplate, "files of two directories do not mix")
	require.NoError(t, os.WriteFile(filepath.Join(dir, tokenizerFile), []byte(`[`), 0o600))
	_, err := Open(dir)
	assert.ErrorIs(t, err, ErrJSON)
}

func TestTheHashOfAnAdapterIsThatOfItsContent(t *testing.T) {
	hash := func(edit func(o options, tensors []matrix)) string {
		o, tensors := adapterOptions(), adapterTensors()
		edit(o, tensors)
		return mustOpen(t, writeAdapter(t, o, tensors)).Hash()
	}
	want := hash(func(options, []matrix) {})
	assert.Equal(t, want, hash(func(o options, _ []matrix) { o["lora_dropout"] = 0.1 }), "how it was trained does not show")
	assert.NotEqual(t, want, hash(func(o options, _ []matrix) { o["lora_alpha"] = 4 }))
	assert.NotEqual(t, want, hash(func(_ options, m []matrix) { m[1].values = make([]float32, testRank*testIn) }))
	assert.NotEqual(t, want, hash(func(_ options, m []matrix) { m[2].values = make([]float32, testOut*testRank) }))
}

func TestWhereTheBaseOfAnAdapterLies(t *testing.T) {
	base := filepath.Join(t.TempDir(), "model")
	writeBase(t, base)
	at := func(t *testing.T, parent, named string) string {
		o := adapterOptions()
		o["base_model_name_or_path"] = named
		return writeAdapterTo(t, filepath.Join(parent, "adapter"), o, adapterTensors())
	}
	t.Run("at an absolute path", func(t *testing.T) {
		mustOpen(t, at(t, t.TempDir(), base))
	})
	t.Run("relative to the adapter", func(t *testing.T) {
		mustOpen(t, at(t, filepath.Dir(base), "../model"))
	})
	t.Run("relative to the working directory", func(t *testing.T) {
		t.Chdir(filepath.Dir(base))
		mustOpen(t, at(t, t.TempDir(), "model"))
	})
	t.Run("inside of the adapter, which goes first", func(t *testing.T) {
		dir := at(t, t.TempDir(), t.TempDir())
		require.NoError(t, os.Symlink(base, filepath.Join(dir, baseDir)))
		mustOpen(t, dir)
	})
	t.Run("in the same file system", func(t *testing.T) {
		dir := at(t, filepath.Dir(base), "../model")
		c, err := OpenFS(os.DirFS(filepath.Dir(base)), "adapter", "a name")
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, "a name", c.Dir)
		assert.Equal(t, mustOpen(t, dir).Hash(), c.Hash())
		at(t, filepath.Dir(base), "../../model")
		_, err = OpenFS(os.DirFS(filepath.Dir(base)), "adapter", "a name")
		require.ErrorIs(t, err, ErrAdapter, "not outside of it")
		assert.ErrorContains(t, err, "a name")
	})
	t.Run("or nowhere, and then the message says what to do", func(t *testing.T) {
		dir := at(t, t.TempDir(), "someone/large-model")
		_, err := Open(dir)
		require.ErrorIs(t, err, ErrAdapter)
		for _, want := range []string{`"someone/large-model"`, filepath.Join(dir, "base"), filepath.Join(dir, "someone/large-model"), "or a link to it", adapterConfigFile} {
			assert.ErrorContains(t, err, want)
		}
	})
	t.Run("and is no adapter itself", func(t *testing.T) {
		inner := at(t, t.TempDir(), base)
		_, err := Open(at(t, t.TempDir(), inner))
		require.ErrorIs(t, err, ErrAdapter)
		assert.ErrorContains(t, err, "warm average")
	})
	t.Run("and is a checkpoint", func(t *testing.T) {
		_, err := Open(at(t, t.TempDir(), t.TempDir()))
		assert.ErrorIs(t, err, ErrNoWeights)
		bare := t.TempDir()
		writeMatrices(t, filepath.Join(bare, weightsFile), adapterTensors())
		_, err = Open(at(t, t.TempDir(), bare))
		assert.ErrorIs(t, err, ErrNoConfig)
	})
}

func TestAdaptersAreReadByManyAtOnce(t *testing.T) {
	tensors := adapterTensors()
	for i := range tensors {
		tensors[i].dtype = safetensors.BF16 // so that A and B are converted by the first reader
	}
	dir := writeAdapter(t, adapterOptions(), tensors)
	const name = "model.layers.0.q_proj.weight"
	want := values(t, mustOpen(t, dir), name)
	c := mustOpen(t, dir)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got := make([]float32, len(want))
			assert.NoError(t, c.ReadAt(got, name, 0))
			assert.Equal(t, want, got)
		})
	}
	wg.Wait()
}

func TestAClosedAdapterIsNotRead(t *testing.T) {
	c, err := Open(writeAdapter(t, adapterOptions(), adapterTensors()))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	assert.ErrorIs(t, c.ReadAt(make([]float32, 1), "model.layers.0.q_proj.weight", 0), safetensors.ErrClosed)
}

func BenchmarkReadAdapter(b *testing.B) {
	dir := b.TempDir()
	const n, rank = 1024, 16
	require.NoError(b, os.MkdirAll(filepath.Join(dir, "base"), 0o755))
	require.NoError(b, os.WriteFile(filepath.Join(dir, "base", configFile), []byte(`{"architectures":["LlamaForSequenceClassification"]}`), 0o600))
	writeMatrices(b, filepath.Join(dir, "base", weightsFile), []matrix{{name: "q_proj.weight", shape: []int{n, n}, dtype: safetensors.BF16}})
	o := adapterOptions()
	o["r"] = rank
	c := mustOpen(b, writeAdapterTo(b, filepath.Join(dir, "adapter"), o, []matrix{
		{name: "base_model.model.q_proj.lora_A.weight", shape: []int{rank, n}}, {name: "base_model.model.q_proj.lora_B.weight", shape: []int{n, rank}}}))
	dst := make([]float32, n*n)
	b.SetBytes(4 * n * n)
	for b.Loop() {
		require.NoError(b, c.ReadAt(dst, "q_proj.weight", 0))
	}
}
