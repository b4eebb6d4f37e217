package loader

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/loader/torchfile"
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

// write puts files into a new directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// tensors returns the bytes of a safetensors file with one-element F32 tensors.
func tensors(t testing.TB, names ...string) string {
	t.Helper()
	var specs []safetensors.Spec
	for _, n := range names {
		specs = append(specs, safetensors.Spec{Name: n, DType: safetensors.F32, Shape: []int{1}})
	}
	var b strings.Builder
	require.NoError(t, safetensors.Write(&b, specs, nil, func(w io.Writer, s safetensors.Spec) error {
		out := make([]byte, 4)
		safetensors.EncodeF32(out, []float32{float32(len(s.Name))})
		_, err := w.Write(out)
		return err
	}))
	return b.String()
}

func TestOpenRefuses(t *testing.T) {
	weights := tensors(t, "w")
	index := func(m string) string { return `{"metadata":{"total_size":0},"weight_map":` + m + `}` }
	tests := []struct {
		name  string
		files map[string]string
		want  error
		says  []string // parts of the message
	}{
		{"an empty directory", nil, ErrNoWeights, nil},
		{"a file of torch that is none", map[string]string{"config.json": "{}", "pytorch_model.bin": "x"}, torchfile.ErrFormat, []string{"pytorch_model.bin"}},
		{"a file of torch that asks to run something", map[string]string{"config.json": "{}", "pytorch_model.bin": torchArchive(t, "\x80\x02cos\nsystem\n.", nil)},
			torchfile.ErrCall, []string{`pytorch_model.bin asks to call "os.system": refused`}},
		{"a file of torch under another name", map[string]string{"config.json": "{}", "model.pt": "x"}, ErrWeightsName, []string{"model.pt", "name it pytorch_model.bin"}},
		{"an index of torch's files without a map", map[string]string{"config.json": "{}", "pytorch_model.bin.index.json": "{}"}, ErrIndex, []string{"pytorch_model.bin.index.json has no weight_map"}},
		{"an index of torch's files that points out of the directory", map[string]string{"pytorch_model.bin.index.json": index(`{"w":"../x.bin"}`)}, ErrIndex, []string{"../x.bin", "want a .bin file in the same directory"}},
		{"an index of torch's files that points to a safetensors file", map[string]string{"pytorch_model.bin.index.json": index(`{"w":"a.safetensors"}`), "a.safetensors": weights}, ErrIndex, []string{"want a .bin file"}},
		{"a shard of torch that is missing", map[string]string{"pytorch_model.bin.index.json": index(`{"w":"a.bin"}`)}, ErrIndex, []string{"a.bin of 1 tensors is missing"}},
		{"a shard of torch with another tensor", map[string]string{"pytorch_model.bin.index.json": index(`{"w":"a.bin"}`), "a.bin": torchWeights(t, "v")}, ErrIndex, []string{`"v" of a.bin is not in the index`}},
		{"a hostile value head", map[string]string{"model.safetensors": weights, "config.json": "{}", "value_head.safetensors": "xxxxxxxx"}, safetensors.ErrHeaderTooLarge, []string{"value_head.safetensors"}},
		{"a hostile value head of torch", map[string]string{"model.safetensors": weights, "config.json": "{}", "value_head.bin": torchArchive(t, "\x80\x02cos\nsystem\n.", nil)}, torchfile.ErrCall, []string{"value_head.bin"}},
		{"an adapter without its model", map[string]string{"adapter_config.json": "{}", "adapter_model.safetensors": weights}, ErrAdapter, []string{"peft_type", "lora_alpha is missing"}},
		{"weights without a config", map[string]string{"model.safetensors": weights}, ErrNoConfig, nil},
		{"a config that is an array", map[string]string{"model.safetensors": weights, "config.json": "[]"}, ErrJSON, []string{"config.json"}},
		{"a config that is cut", map[string]string{"model.safetensors": weights, "config.json": `{"a":`}, ErrJSON, []string{"config.json"}},
		{"a tokenizer that is not JSON", map[string]string{"model.safetensors": weights, "config.json": "{}", "tokenizer.json": "x"}, ErrJSON, []string{"tokenizer.json"}},
		{"a hostile weights file", map[string]string{"model.safetensors": "xxxxxxxx", "config.json": "{}"}, safetensors.ErrHeaderTooLarge, []string{"model.safetensors"}},
		{"an index that is not JSON", map[string]string{"model.safetensors.index.json": "x"}, ErrJSON, nil},
		{"an index without a map", map[string]string{"model.safetensors.index.json": "{}"}, ErrIndex, []string{"weight_map"}},
		{"an index that points out of the directory", map[string]string{"model.safetensors.index.json": index(`{"w":"../x.safetensors"}`)}, ErrIndex, []string{"../x"}},
		{"an index that points to a pickle", map[string]string{"model.safetensors.index.json": index(`{"w":"x.bin"}`)}, ErrIndex, []string{"x.bin"}},
		{"an index with a number", map[string]string{"model.safetensors.index.json": index(`{"w":1}`)}, ErrIndex, nil},
		{"an index with a name twice", map[string]string{"model.safetensors.index.json": index(`{"w":"a.safetensors","w":"b.safetensors"}`)}, ErrIndex, []string{"twice"}},
		{"an index and shards that disagree in every way at once", map[string]string{
			"model.safetensors.index.json": index(`{"gone":"a.safetensors","moved":"a.safetensors","both":"a.safetensors","here":"b.safetensors","lost":"c.safetensors"}`),
			"a.safetensors":                tensors(t, "both"),
			"b.safetensors":                tensors(t, "here", "moved", "both", "extra"),
		}, ErrIndex, []string{`"gone" is not in a`, `"moved" is in b.safetensors, the index says a`, `"both" is in a.safetensors and in b`,
			`"extra" of b.safetensors is not in the index`, "c.safetensors of 1 tensors is missing"}},
		{"templates without a default", map[string]string{"model.safetensors": weights, "config.json": "{}",
			"tokenizer_config.json": `{"chat_template":[{"name":"rag","template":"x"}]}`}, ErrTemplate, []string{"rag"}},
		{"a template that is a number", map[string]string{"model.safetensors": weights, "config.json": "{}",
			"tokenizer_config.json": `{"chat_template":1}`}, ErrTemplate, nil},
		{"a named template without text", map[string]string{"model.safetensors": weights, "config.json": "{}",
			"tokenizer_config.json": `{"chat_template":[{"name":"default"}]}`}, ErrTemplate, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.files)
			_, err := Open(dir)
			require.ErrorIs(t, err, tt.want)
			assert.Contains(t, err.Error(), dir)
			for _, s := range tt.says {
				assert.Contains(t, err.Error(), s)
			}
		})
	}
	t.Run("a path that is a file", func(t *testing.T) {
		_, err := Open(filepath.Join(write(t, map[string]string{"f": ""}), "f"))
		assert.Error(t, err)
	})
}

func TestOpenFindsTheChatTemplate(t *testing.T) {
	tests := []struct {
		name, jinja, config, want string
	}{
		{"nowhere", "", "", ""},
		{"not in a tokenizer config without one", "", `{}`, ""},
		{"as null", "", `{"chat_template":null}`, ""},
		{"as a string", "", `{"chat_template":"a\nb"}`, "a\nb"},
		{"as the default of a list", "", `{"chat_template":[{"name":"rag","template":"x"},{"name":"default","template":"y"}]}`, "y"},
		{"in its own file, which wins", "j", `{"chat_template":"c"}`, "j"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"model.safetensors": tensors(t, "w"), "config.json": "{}"}
			if tt.jinja != "" {
				files["chat_template.jinja"] = tt.jinja
			}
			if tt.config != "" {
				files["tokenizer_config.json"] = tt.config
			}
			c, err := Open(write(t, files))
			require.NoError(t, err)
			defer c.Close()
			assert.Equal(t, tt.want, c.ChatTemplate)
		})
	}
}

func TestOpenStripsThePrefixOfDistributedTraining(t *testing.T) {
	tests := []struct {
		name     string
		in, want []string
	}{
		{"from every tensor", []string{"module.b", "module.a"}, []string{"a", "b"}},
		{"twice", []string{"module.module.a"}, []string{"a"}},
		{"not when one tensor lacks it", []string{"module.a", "b"}, []string{"b", "module.a"}},
		{"not from the bare word", []string{"module."}, []string{"module."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Open(write(t, map[string]string{"model.safetensors": tensors(t, tt.in...), "config.json": "{}"}))
			require.NoError(t, err)
			defer c.Close()
			assert.Equal(t, tt.want, c.Names())
			for _, n := range tt.want {
				assert.NoError(t, c.ReadAt(make([]float32, 1), n, 0))
			}
		})
	}
}

func TestOpenReadsGoldens(t *testing.T) {
	t.Run("shards hold the same tensors as one file", func(t *testing.T) {
		one, err := Open(shared(t, "goldens", "llama-gqa"))
		require.NoError(t, err)
		defer one.Close()
		many, err := Open(shared(t, "goldens", "llama-sharded"))
		require.NoError(t, err)
		defer many.Close()
		assert.Len(t, many.files, 4)
		assertSameTensors(t, one, many)
	})
	t.Run("bfloat16 weights are those of float32, rounded", func(t *testing.T) {
		full, err := Open(shared(t, "goldens", "llama-gqa"))
		require.NoError(t, err)
		defer full.Close()
		half, err := Open(shared(t, "goldens", "llama-bf16"))
		require.NoError(t, err)
		defer half.Close()
		require.Equal(t, full.Names(), half.Names())
		for _, n := range full.Names() {
			require.Equal(t, "BF16", half.DType(n))
			want, got := values(t, full, n), values(t, half, n)
			b := make([]byte, 2*len(want))
			safetensors.EncodeBF16(b, want)
			safetensors.Decode(want, b, safetensors.BF16)
			require.Equal(t, want, got, n)
		}
	})
	t.Run("tokenizer files are read", func(t *testing.T) {
		c, err := Open(shared(t, "models", "rm-paradetox-1"))
		require.NoError(t, err)
		defer c.Close()
		assert.NotEmpty(t, c.Tokenizer)
		assert.NotEmpty(t, c.TokenizerConfig)
		assert.Nil(t, c.SpecialTokensMap)
		assert.Empty(t, c.ChatTemplate)
	})
}

func TestReadsOfUnknownTensors(t *testing.T) {
	c, err := Open(write(t, map[string]string{"model.safetensors": tensors(t, "w"), "config.json": "{}"}))
	require.NoError(t, err)
	defer c.Close()
	assert.ErrorIs(t, c.ReadAt(nil, "v", 0), ErrNoTensor)
	assert.ErrorIs(t, c.ReadAt(make([]float32, 2), "w", 0), safetensors.ErrRange)
	assert.Empty(t, c.DType("v"))
	_, ok := c.Shape("v")
	assert.False(t, ok)
	_, ok = c.View("v")
	assert.False(t, ok)
	c.Release("v")
	c.Prefetch("v")
}

func TestHashIsThatOfTheContent(t *testing.T) {
	open := func(files map[string]string) string {
		c, err := Open(write(t, files))
		require.NoError(t, err)
		defer c.Close()
		return c.Hash()
	}
	base := map[string]string{"model.safetensors": tensors(t, "v", "w"), "config.json": "{}"}
	want := open(base)
	assert.Regexp(t, "^sha256:[0-9a-f]{64}$", want)
	assert.Equal(t, want, open(map[string]string{"config.json": "{}", "notes.txt": "ignored",
		"model.safetensors.index.json": `{"weight_map":{"v":"a.safetensors","w":"b.safetensors"}}`,
		"a.safetensors":                tensors(t, "v"), "b.safetensors": tensors(t, "w")}), "shards do not show")
	assert.NotEqual(t, want, open(map[string]string{"model.safetensors": tensors(t, "v", "x"), "config.json": "{}"}), "names show")
	assert.NotEqual(t, want, open(map[string]string{"model.safetensors": base["model.safetensors"], "config.json": "{ }"}), "the config shows")
	assert.NotEqual(t, want, open(map[string]string{"model.safetensors": base["model.safetensors"], "config.json": "{}", "chat_template.jinja": "x"}), "the template shows")
	changed := []byte(base["model.safetensors"])
	changed[len(changed)-1] ^= 1
	assert.NotEqual(t, want, open(map[string]string{"model.safetensors": string(changed), "config.json": "{}"}), "a bit of a weight shows")
}

// values reads a whole tensor.
func values(t testing.TB, s Source, name string) []float32 {
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

// assertSameTensors compares names, shapes and bits.
func assertSameTensors(t testing.TB, want, got Source) {
	t.Helper()
	require.Equal(t, want.Names(), got.Names())
	for _, n := range want.Names() {
		ws, _ := want.Shape(n)
		gs, _ := got.Shape(n)
		require.Equal(t, ws, gs, n)
		require.Equal(t, bitsOf(values(t, want, n)), bitsOf(values(t, got, n)), n)
	}
}
