package main

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// tinyConfig is a reward model of some thousand weights.
const tinyConfig = rewardtest.Config

// tinyModel writes a random checkpoint and returns its directory.
func tinyModel(t testing.TB, name string, edit func(c *loader.Contents)) string {
	return rewardtest.Checkpoint(t, name, edit)
}

// partial is a source without some tensors, or with others' shapes.
type partial struct {
	loader.Source
	without string
	shape   map[string][]int
}

func (p partial) Names() []string {
	var out []string
	for _, n := range p.Source.Names() {
		if n != p.without {
			out = append(out, n)
		}
	}
	return out
}

func (p partial) Shape(name string) ([]int, bool) {
	if s, ok := p.shape[name]; ok {
		return s, true
	}
	return p.Source.Shape(name)
}

// poke writes a value over an element of a checkpoint's tensor, as a failing disk or an overflowed training leaves it.
func poke(t testing.TB, dir, tensor string, element int, value float32) {
	path := filepath.Join(dir, "model.safetensors")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := safetensors.Parse(b)
	require.NoError(t, err)
	for i := range f.Tensors {
		if f.Tensors[i].Name == tensor { // Data is a part of b.
			binary.LittleEndian.PutUint32(f.Tensors[i].Data[4*element:], math.Float32bits(value))
		}
	}
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

func TestCheckpointsThatCannotBeServed(t *testing.T) {
	good := tinyModel(t, "good", nil)
	damage := func(name string, f func(path string)) string {
		dir := tinyModel(t, name, nil)
		f(dir)
		return dir
	}
	file := func(dir, name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	for _, c := range []struct {
		name string
		dirs []string
		want []string
	}{
		{"a directory that is not there", []string{filepath.Join(good, "nowhere")}, []string{"nowhere"}},
		{"no weights", []string{damage("empty", func(d string) { os.Remove(filepath.Join(d, "model.safetensors")) })}, []string{"model.safetensors"}},
		{"a truncated file", []string{damage("short", func(d string) {
			p := filepath.Join(d, "model.safetensors")
			s, err := os.Stat(p)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(p, s.Size()/2))
		})}, []string{"model.safetensors", "end of the file"}},
		{"a header that claims exabytes", []string{damage("claims", func(d string) {
			file(d, "model.safetensors", string(binary.LittleEndian.AppendUint64(nil, 1<<60))+"{}")
		})}, []string{"100 MB"}},
		{"a pickle", []string{damage("pickle", func(d string) {
			os.Rename(filepath.Join(d, "model.safetensors"), filepath.Join(d, "pytorch_model.bin"))
		})}, []string{"pytorch_model.bin", "not a whole file of torch.save"}},
		{"no score head", []string{tinyModel(t, "headless", func(c *loader.Contents) { c.Source = partial{Source: c.Source, without: "score.weight"} })}, []string{"score head", "score.weight"}},
		{"a weight of another shape", []string{tinyModel(t, "bent", func(c *loader.Contents) {
			c.Source = partial{Source: c.Source, shape: map[string][]int{"model.layers.1.mlp.down_proj.weight": {48, 32}}}
		})}, []string{"model.layers.1.mlp.down_proj.weight: shape [48 32], want [32 48]"}},
		{"a weight that is no number", []string{damage("nan", func(d string) { poke(t, d, "model.norm.weight", 0, float32(math.NaN())) })}, []string{"nan: tensor", `model.norm.weight": element 0 is NaN`}},
		{"an unknown architecture", []string{damage("t5", func(d string) {
			file(d, "config.json", strings.NewReplacer("LlamaFor", "T5For", `"llama"`, `"t5"`).Replace(tinyConfig))
		})}, []string{"T5ForSequenceClassification", "LlamaForSequenceClassification"}},
		{"a language model", []string{tinyModel(t, "lm", func(c *loader.Contents) {
			c.Config = []byte(strings.Replace(tinyConfig, "SequenceClassification", "CausalLM", 1))
			c.Source = partial{Source: c.Source, without: "score.weight"}
		})}, []string{"a base for training", "LlamaForCausalLM", "warm train rm --base"}},
		{"two outputs", []string{tinyModel(t, "two", func(c *loader.Contents) {
			c.Source = partial{Source: c.Source, shape: map[string][]int{"score.weight": {2, 16}}}
		})}, []string{"score.weight has 2 outputs", "set output"}},
		{"a broken tokenizer", []string{damage("token", func(d string) { file(d, "tokenizer.json", `{"model":{"type":"Magic"}}`) })}, []string{"tokenizer.json", "Magic"}},
		{"a broken template", []string{damage("template", func(d string) { file(d, "chat_template.jinja", "{% for %}") })}, []string{"chat template"}},
		{"tokenizers that differ", []string{good, tinyModel(t, "other", func(c *loader.Contents) { c.Tokenizer = rewardtest.Tokenizer("extra") })}, []string{"tokenizer"}},
		{"templates that differ", []string{good, tinyModel(t, "style", func(c *loader.Contents) { c.ChatTemplate += "!" })}, []string{"chat template"}},
		{"sizes that differ", []string{good, tinyModel(t, "deep", func(c *loader.Contents) {
			deep := strings.Replace(tinyConfig, `"num_hidden_layers":2`, `"num_hidden_layers":3`, 1)
			cfg, err := model.ParseConfig([]byte(deep))
			require.NoError(t, err)
			c.Config, c.Source = []byte(deep), model.NewRandom(cfg, 1)
		})}, []string{"num_hidden_layers"}},
		{"two members of one name", []string{good, good}, []string{`two members are called "good"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, stderr := command(t, "", "serve", "--addr", "127.0.0.1:0", "--model", "m="+strings.Join(c.dirs, ","))
			assert.Equal(t, exitFailure, code)
			for _, w := range c.want {
				assert.Contains(t, stderr, w)
			}
			assert.NotContains(t, stderr, "level=ERROR", "the reason is told once, at the end")
		})
	}
}

func TestMistakesOnTheCommandLineExitWith2(t *testing.T) {
	good := tinyModel(t, "good", nil)
	broken := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("models:\n  m:\n    members: [a]\n    dtipe: int8\n"), 0o600))
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	require.NoError(t, os.WriteFile(empty, []byte("addr: 127.0.0.1:0\n"), 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--config", empty}, "nothing to serve"},
		{[]string{"serve", "--state", filepath.Join(t.TempDir(), "state")}, "nothing to serve"},
		{[]string{"serve", "--dtype", "float12"}, `unknown dtype "float12"`},
		{[]string{"embedded"}, "--card"},
		{[]string{"embedded", "--card", "dir"}, "--card"},
		{[]string{"serve", "--model", "m=" + good, "--adr", "x"}, "unknown flag: --adr"},
		{[]string{"serve", "--model", "m=" + good, "--addr", "nonsense"}, "addr"},
		{[]string{"serve", "--model", "m=" + good, "--dtype", "float12"}, `unknown dtype "float12"`},
		{[]string{"serve", "--model", "m=" + good, "--pooling", "middle"}, `unknown pooling rule "middle"`},
		{[]string{"serve", "--model", "m=" + good, "--model", "m=" + good}, `"m" is given twice`},
		{[]string{"serve", "--model", "a name=" + good}, "printable ASCII"},
		{[]string{"serve", "--config", broken}, "dtipe"},
		{[]string{"serve", "--model", "m=" + good, "--key-file", filepath.Join(good, "none")}, "key_file"},
		{[]string{"serve", "--model", "m=" + good, "--admin-key-file", filepath.Join(good, "none")}, "admin_key_file"},
		{[]string{"serve", "--model", "m=" + good, "--model-root", filepath.Join(good, "none")}, "model root"},
		{[]string{"serve", "--model", "m=" + good, "--state", filepath.Join(good, "nowhere", "state.json")}, "state file"},
		{[]string{"serve", "--model", "m=" + good, "--keep-previous", "-1s"}, "keep_previous"},
		{[]string{"serve", "more"}, "serve takes flags alone, not \"more\": did you mean --model NAME=more?"},
		{[]string{"serve", "one", "two"}, "did you mean --model NAME=one,two?"},
		{[]string{"train", "rn"}, "unknown command \"rn\" for \"train\": did you mean lm, rm?"},
		{[]string{"train", "rm", "base"}, "train rm takes flags alone, not \"base\""},
		{[]string{"lab", "soup"}, "did you mean soups?"},
		{[]string{"score", "--skipbad", good}, "unknown flag: --skipbad: did you mean --skip-bad?"},
		{[]string{"serv"}, "unknown command \"serv\": did you mean serve?"},
		{[]string{"average", good}, "--out"},
		{[]string{"average", "--out", t.TempDir(), "--weights", "1,2", good}, "--weights: 2 for 1 members"},
		{[]string{"check"}, "requires at least 1 arg"},
		{[]string{"bench", "engine"}, "--random"},
		{[]string{"frobnicate"}, "unknown command"},
	} {
		t.Run(strings.Join(c.args[:min(2, len(c.args))], " ")+": "+c.want, func(t *testing.T) {
			code, _, stderr := command(t, "", c.args...)
			assert.Equal(t, exitUsage, code, stderr)
			assert.Contains(t, stderr, c.want)
		})
	}
}

func TestRequestsThatCannotBeAnswered(t *testing.T) {
	s := startServe(t, "--model", "m="+tinyModel(t, "one", nil)+","+tinyModel(t, "three", nil))
	long := strings.Repeat("a", 100)
	for _, c := range []struct {
		name, body string
		status     int
		code       string
		want       string // in param or message
	}{
		{"not JSON", `{"inputs":`, 400, "invalid_json", ""},
		{"invalid UTF-8", "{\"inputs\":[{\"text\":\"\xff\"}]}", 400, "invalid_utf8", ""},
		{"unknown field", `{"inputs":[{"text":"a"}],"temperature":1}`, 400, "unknown_field", "temperature"},
		{"unknown model", `{"model":"x","inputs":[{"text":"a"}]}`, 404, "unknown_model", "x"},
		{"no inputs", `{"inputs":[]}`, 400, "empty_input", "inputs"},
		{"no token", `{"inputs":[{"text":"a"},{"input_ids":[]}]}`, 400, "empty_input", "inputs[1].input_ids"},
		{"token beyond the vocabulary", `{"inputs":[{"input_ids":[1,300]}]}`, 400, "token_out_of_range", "300"},
		{"two forms at once", `{"inputs":[{"text":"a","input_ids":[1]}]}`, 400, "conflicting_fields", "inputs[0]"},
		{"the user speaks last", `{"inputs":[{"messages":[{"role":"user","content":"hi"}]}]}`, 400, "last_message_not_assistant", "inputs[0].messages"},
		{"text over the context", `{"truncate":"error","inputs":[{"prompt":"` + long + `","response":"b"}]}`, 422, "too_long", "inputs[0]"},
		{"an answer over the context", `{"truncate":"error","inputs":[{"prompt":"b","response":"` + long + `"}]}`, 422, "too_long", "inputs[0]"},
		{"a finished text over the context", `{"truncate":"error","inputs":[{"text":"` + long + `"}]}`, 422, "too_long", "inputs[0]"},
		{"a mode that is not held", `{"mode":"ens","inputs":[{"text":"a"}]}`, 400, "unsupported_mode", "ens"},
		{"an empty text", `{"inputs":[{"text":""}]}`, 400, "empty_input", "inputs[0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, got := s.post(t, c.body)
			require.NotNil(t, got.Error)
			assert.Equal(t, c.status, status, got.Error)
			assert.Equal(t, c.code, got.Error.Code, got.Error)
			assert.Contains(t, got.Error.Param+" "+got.Error.Message, c.want)
		})
	}
	status, got := s.post(t, `{"inputs":[{"prompt":"`+long+`","response":"the answer"}]}`)
	require.Equal(t, 200, status, "and the server keeps serving: %+v", got.Error)
	assert.True(t, got.Data[0].Truncated)
	assert.Equal(t, 64, got.Data[0].Tokens)
	assert.NotContains(t, s.stderr.String(), long, "no user text in the log")
	assert.Equal(t, exitOK, s.stop())
}

func TestRandomWeightsAreServedForLoadTests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(path, []byte(tinyConfig), 0o600))
	s := startServe(t, "--model", "load=random:"+path)
	status, got := s.post(t, `{"inputs":[{"input_ids":[1,2,3]}]}`)
	require.Equal(t, 200, status, "%+v", got.Error)
	status, got = s.post(t, `{"inputs":[{"text":"a"}]}`)
	assert.Equal(t, 400, status)
	assert.Equal(t, "unsupported_input", got.Error.Code, "without a tokenizer there is no text")
	assert.Contains(t, s.stderr.String(), "the weights are random")
}
