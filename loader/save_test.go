package loader

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

func bitsOf(v []float32) []uint32 {
	out := make([]uint32, len(v))
	for i := range v {
		out[i] = math.Float32bits(v[i])
	}
	return out
}

// memory is a Source of slices; every tensor is a vector.
type memory map[string][]float32

func (m memory) Names() []string { return sortedKeys(m) }

func (m memory) Shape(name string) ([]int, bool) {
	v, ok := m[name]
	return []int{len(v)}, ok
}

func (m memory) ReadAt(dst []float32, name string, offset int) error {
	copy(dst, m[name][offset:offset+len(dst)])
	return nil
}

// contentsOf is everything that Save needs to write a checkpoint again.
func contentsOf(c *Checkpoint) Contents {
	return Contents{Config: c.Config, Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig,
		SpecialTokensMap: c.SpecialTokensMap, ChatTemplate: c.ChatTemplate, Source: c}
}

// assertSameFiles compares two directories byte by byte.
func assertSameFiles(t *testing.T, a, b string) {
	t.Helper()
	list := func(dir string) (out []string) {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	require.Equal(t, list(a), list(b))
	for _, name := range list(a) {
		x, err := os.ReadFile(filepath.Join(a, name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(b, name))
		require.NoError(t, err)
		require.True(t, string(x) == string(y), "%s differs", name)
	}
}

func TestSaveWritesWhatTransformersWrote(t *testing.T) {
	// The golden was written by transformers: the same tensors must give the same bytes, header included.
	for _, name := range []string{"llama-gqa", "bert-base", "gpt2-base", "modernbert-cls"} {
		t.Run(name, func(t *testing.T) {
			golden := shared(t, "goldens", name)
			c, err := Open(golden)
			require.NoError(t, err)
			defer c.Close()
			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, Save(out, contentsOf(c)))
			for _, f := range []string{"config.json", "model.safetensors"} {
				want, err := os.ReadFile(filepath.Join(golden, f))
				require.NoError(t, err)
				got, err := os.ReadFile(filepath.Join(out, f))
				require.NoError(t, err)
				assert.True(t, string(want) == string(got), "%s differs", f)
			}
		})
	}
}

func TestSaveThenOpenThenSaveIsByteIdentical(t *testing.T) {
	base := func() Contents {
		return Contents{
			Config:          []byte("{\n  \"torch_dtype\": \"float16\",\n  \"x\": 1e-05\n}"),
			Tokenizer:       []byte(`{"model":{}}`),
			TokenizerConfig: []byte(`{"chat_template":"old"}`), ChatTemplate: "{{ messages }}",
			SpecialTokensMap: []byte(`{"eos_token":"</s>"}`),
			Source:           memory{"a": {1, 2.5, float32(math.Copysign(0, -1)), -1e38}, "b": {math.SmallestNonzeroFloat32}, "c": make([]float32, 70000)},
		}
	}
	tests := []struct {
		name   string
		change func(*Contents)
		files  int
	}{
		{"in float32", func(*Contents) {}, 6},
		{"in bfloat16", func(c *Contents) { c.DType = "BF16" }, 6},
		{"in shards", func(c *Contents) { c.ShardBytes = 20 }, 6 - 1 + 2 + 1},
		{"with the template of the tokenizer config", func(c *Contents) { c.ChatTemplate = "old" }, 5},
		{"with nothing but weights", func(c *Contents) { *c = Contents{Config: []byte("{}"), Source: c.Source} }, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			c := base()
			tt.change(&c)
			first, second := filepath.Join(dir, "deep", "first"), filepath.Join(dir, "second")
			require.NoError(t, Save(first, c))
			opened, err := Open(first)
			require.NoError(t, err)
			defer opened.Close()
			if c.DType == "" {
				assertSameTensors(t, c.Source, opened)
			}
			assert.Equal(t, c.Tokenizer, opened.Tokenizer)
			assert.Equal(t, c.SpecialTokensMap, opened.SpecialTokensMap)
			assert.Equal(t, c.ChatTemplate, opened.ChatTemplate)
			again := contentsOf(opened)
			again.DType, again.ShardBytes = c.DType, c.ShardBytes
			require.NoError(t, Save(second, again))
			assertSameFiles(t, first, second)
			entries, err := os.ReadDir(second)
			require.NoError(t, err)
			assert.Len(t, entries, tt.files)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, left, 2, "no temporary directory is left")
		})
	}
}

func TestSaveStatesTheStoredTypeInTheConfig(t *testing.T) {
	for _, tt := range []struct{ dtype, in, want string }{
		{"F32", `{"torch_dtype": "bfloat16", "a": 1}`, `{"torch_dtype": "float32", "a": 1}`},
		{"BF16", `{"a": 1, "dtype" : "float32"}`, `{"a": 1, "dtype" : "bfloat16"}`},
		{"BF16", `{"a": {"dtype": "float32"}}`, `{"a": {"dtype": "float32"}}`},
	} {
		out := filepath.Join(t.TempDir(), "out")
		require.NoError(t, Save(out, Contents{Config: []byte(tt.in), DType: tt.dtype, Source: memory{"w": {1}}}))
		c, err := Open(out)
		require.NoError(t, err)
		assert.Equal(t, tt.want, string(c.Config))
		assert.Equal(t, tt.dtype, c.DType("w"))
		require.NoError(t, c.Close())
	}
}

func TestSaveKeepsIntegerTensors(t *testing.T) {
	var b strings.Builder
	specs := []safetensors.Spec{{Name: "ids", DType: "I64", Shape: []int{2}}, {Name: "w", DType: "F16", Shape: []int{1}}}
	require.NoError(t, safetensors.Write(&b, specs, nil, func(w io.Writer, s safetensors.Spec) error {
		n, _ := s.Bytes()
		_, err := w.Write([]byte(strings.Repeat("\x01\x3c", int(n)/2)))
		return err
	}))
	c, err := Open(write(t, map[string]string{"model.safetensors": b.String(), "config.json": "{}"}))
	require.NoError(t, err)
	defer c.Close()
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Save(out, contentsOf(c)))
	again, err := Open(out)
	require.NoError(t, err)
	defer again.Close()
	want, _ := c.Raw("ids")
	got, _ := again.Raw("ids")
	assert.Equal(t, want, got)
	assert.Equal(t, "I64", again.DType("ids"))
	assert.Equal(t, values(t, c, "w"), values(t, again, "w"))
}

func TestSaveRefuses(t *testing.T) {
	good := Contents{Config: []byte("{}"), Source: memory{"w": {1}}}
	full := write(t, map[string]string{"precious.txt": "x"})
	checkpoint := write(t, map[string]string{"config.json": "{}"})
	tests := []struct {
		name   string
		dir    string
		change func(*Contents)
		want   error
	}{
		{"a config that is no object", "", func(c *Contents) { c.Config = nil }, ErrContents},
		{"a tokenizer that is no object", "", func(c *Contents) { c.Tokenizer = []byte("x") }, ErrContents},
		{"an unknown type", "", func(c *Contents) { c.DType = "F16" }, ErrContents},
		{"no source", "", func(c *Contents) { c.Source = nil }, ErrContents},
		{"no tensors", "", func(c *Contents) { c.Source = memory{} }, ErrContents},
		{"negative shards", "", func(c *Contents) { c.ShardBytes = -1 }, ErrContents},
		{"an extra file out of the directory", "", func(c *Contents) { c.Extra = map[string][]byte{"../x": nil} }, ErrContents},
		{"an extra file that is a hidden one", "", func(c *Contents) { c.Extra = map[string][]byte{"..": nil} }, ErrContents},
		{"an extra file that is the config", "", func(c *Contents) { c.Extra = map[string][]byte{"config.json": nil} }, ErrContents},
		{"a directory that is not empty", checkpoint, func(*Contents) {}, ErrExists},
		{"to replace what is no checkpoint", full, func(c *Contents) { c.Replace = true }, ErrNotCheckpoint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.dir
			if dir == "" {
				dir = filepath.Join(t.TempDir(), "out")
			}
			c := good
			tt.change(&c)
			err := Save(dir, c)
			require.ErrorIs(t, err, tt.want)
			assert.Contains(t, err.Error(), dir)
			entries, _ := os.ReadDir(filepath.Dir(dir))
			for _, e := range entries {
				assert.NotContains(t, e.Name(), ".tmp-")
			}
		})
	}
	assert.FileExists(t, filepath.Join(full, "precious.txt"))
}

// broken fails in the middle of its second tensor.
type broken struct{ memory }

var errBroken = errors.New("no more")

func (b broken) ReadAt(dst []float32, name string, offset int) error {
	if name == "b" && offset > 0 {
		return errBroken
	}
	return b.memory.ReadAt(dst, name, offset)
}

func TestAFailedSaveChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Save(dir, Contents{Config: []byte("{}"), Source: memory{"w": {1}}}))
	err := Save(dir, Contents{Config: []byte("{}"), Replace: true, Source: broken{memory{"a": {1}, "b": make([]float32, 1<<17)}}})
	require.ErrorIs(t, err, errBroken)
	assert.Contains(t, err.Error(), `"b"`)
	c, err := Open(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"w"}, c.Names())
	require.NoError(t, c.Close())
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestReplacingKeepsOpenReaders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Save(dir, Contents{Config: []byte("{}"), Source: memory{"w": {1}}}))
	old, err := Open(dir)
	require.NoError(t, err)
	defer old.Close()
	require.NoError(t, Save(dir, Contents{Config: []byte("{}"), Source: memory{"w": {2}}, Replace: true, Extra: map[string][]byte{"note.json": []byte("{}")}}))
	fresh, err := Open(dir)
	require.NoError(t, err)
	defer fresh.Close()
	assert.Equal(t, []float32{1}, values(t, old, "w"))
	assert.Equal(t, []float32{2}, values(t, fresh, "w"))
	assert.FileExists(t, filepath.Join(dir, "note.json"))
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	assert.Len(t, left, 1, "the old checkpoint is gone")
}

func TestExchangeByRenamesSwaps(t *testing.T) {
	parent := t.TempDir()
	a, b := filepath.Join(parent, "a"), filepath.Join(parent, "b")
	for _, d := range []string{a, b} {
		require.NoError(t, os.Mkdir(d, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(d, "name"), []byte(filepath.Base(d)), 0o600))
	}
	require.NoError(t, exchangeByRenames(a, b))
	got, err := os.ReadFile(filepath.Join(b, "name"))
	require.NoError(t, err)
	assert.Equal(t, "a", string(got))
	got, err = os.ReadFile(filepath.Join(a, "name"))
	require.NoError(t, err)
	assert.Equal(t, "b", string(got))
}

func TestEditObjectKeepsAllOtherBytes(t *testing.T) {
	object := "{ \"a\" : 1.0,\n\t\"b\\u0062\": {\"c\": [1, 2]} , \"c\":\"}\" }\n"
	x := json.RawMessage(`"x"`)
	tests := []struct {
		name    string
		replace map[string]json.RawMessage
		drop    []string
		want    string
	}{
		{"nothing", nil, nil, object},
		{"a key that is not there", map[string]json.RawMessage{"z": x}, []string{"y"}, object},
		{"the first value", map[string]json.RawMessage{"a": x}, nil, "{ \"a\" : \"x\",\n\t\"b\\u0062\": {\"c\": [1, 2]} , \"c\":\"}\" }\n"},
		{"a value under an escaped key", map[string]json.RawMessage{"bb": x}, nil, "{ \"a\" : 1.0,\n\t\"b\\u0062\": \"x\" , \"c\":\"}\" }\n"},
		{"drop the first", nil, []string{"a"}, "{ \"b\\u0062\": {\"c\": [1, 2]} , \"c\":\"}\" }\n"},
		{"drop the middle", nil, []string{"bb"}, "{ \"a\" : 1.0 , \"c\":\"}\" }\n"},
		{"drop the last", nil, []string{"c"}, "{ \"a\" : 1.0,\n\t\"b\\u0062\": {\"c\": [1, 2]} }\n"},
		{"drop all", nil, []string{"a", "bb", "c"}, "{  }\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := EditObject([]byte(object), tt.replace, tt.drop...)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(got))
			assert.True(t, json.Valid(got))
		})
	}
	_, err := EditObject([]byte("[]"), nil)
	assert.ErrorIs(t, err, ErrJSON)
}
