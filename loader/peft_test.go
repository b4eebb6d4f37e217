package loader

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAdaptersSayWhatWasTakenFromWhere holds the notes about the text files of an adapter and its base.
func TestAdaptersSayWhatWasTakenFromWhere(t *testing.T) {
	files := func(dir string, content map[string]string) {
		for name, text := range content {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
	}
	const tokens = `{"added_tokens":[{"id":3,"content":"<eos>"},{"id":9,"content":"<pad>"}],"model":{}}`
	for _, c := range []struct {
		name     string
		beside   map[string]string // the adapter
		config   string            // the base's config.json, "" for the one without a padding token
		pad      string            // in the merged configuration; "" for none
		template string
		notes    []string
	}{
		{"nothing beside the adapter", nil, "", `"pad_token_id": 7`, "of the base", []string{"beside its base: tokenizer.json, tokenizer_config.json, the chat template"}},
		{"a padding token beside the adapter", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{"pad_token":"<eos>"}`, templateFile: "own"},
			"", `"pad_token_id": 3`, "own", []string{"pad_token_id 3", `"<eos>"`, "beside the adapter: tokenizer.json, tokenizer_config.json, the chat template"}},
		{"as an object", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{"pad_token":{"content":"<pad>"}}`}, "", `"pad_token_id": 9`, "",
			[]string{"the base's chat template is not used"}},
		{"in the map of special tokens", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{}`, specialTokensFile: `{"pad_token":"<pad>"}`}, "", `"pad_token_id": 9`, "", nil},
		{"against the base's configuration", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{"pad_token":"<eos>"}`},
			`{"architectures":["LlamaForCausalLM"],"pad_token_id":1}`, `"pad_token_id": 3`, "", []string{"the base's configuration has 1"}},
		{"against a classifier's configuration", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{"pad_token":"<eos>"}`},
			`{"architectures":["LlamaForSequenceClassification"],"pad_token_id":1}`, `"pad_token_id": 3`, "", nil},
		{"none beside the adapter, one in the base's configuration", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{"pad_token":null}`},
			`{"architectures":["LlamaForCausalLM"],"pad_token_id":1}`, `"pad_token_id": 1`, "", nil},
		{"none beside the adapter, one in the base's tokenizer, which does not count then", map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{}`}, "", "", "", nil},
		{"a template alone", map[string]string{templateFile: "own"}, "", `"pad_token_id": 7`, "own", []string{"beside the adapter: the chat template", "beside its base: tokenizer.json"}},
		{"a tokenizer's configuration alone", map[string]string{tokenizerConfigFile: `{"pad_token":"<pad>"}`}, "", `"pad_token_id": 7`, "of the base", []string{"beside the adapter: tokenizer_config.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeAdapter(t, adapterOptions(), adapterTensors())
			files(dir, c.beside)
			if c.config != "" {
				files(filepath.Join(dir, "..", "base"), map[string]string{configFile: c.config})
			}
			got := mustOpen(t, dir)
			assert.Equal(t, c.pad != "", strings.Contains(string(got.Config), "pad_token_id"), string(got.Config))
			assert.Contains(t, string(got.Config), c.pad)
			assert.Equal(t, c.template, got.ChatTemplate)
			for _, n := range c.notes {
				assert.Contains(t, strings.Join(got.Notes, "\n"), n)
			}
		})
	}
	t.Run("a padding token that is no token", func(t *testing.T) {
		dir := writeAdapter(t, adapterOptions(), adapterTensors())
		files(dir, map[string]string{tokenizerFile: tokens, tokenizerConfigFile: `{"pad_token":"<nope>"}`})
		_, err := Open(dir)
		assert.ErrorContains(t, err, `"<nope>"`)
	})
}

func TestAdaptersThatHaveOneMeaningOpen(t *testing.T) {
	embedding := func(name string, rows int) matrix {
		return matrix{name: "base_model.model.model.embed_tokens." + name, shape: []int{rows, testIn}}
	}
	for _, c := range []struct {
		name  string
		edit  func(o options, m []matrix) []matrix
		says  []string
		check func(t *testing.T, c *Checkpoint)
	}{
		{"without a task and with a score head", func(o options, m []matrix) []matrix {
			o["task_type"], o["auto_mapping"] = nil, options{"base_model_class": "LlamaForSequenceClassification"}
			return m
		}, nil, nil},
		{"without a task and without a word about the class", func(o options, m []matrix) []matrix { delete(o, "task_type"); return m }, nil, nil},
		{"for a language model and with a score head", func(o options, m []matrix) []matrix { o["task_type"] = "CAUSAL_LM"; return m }, nil, nil},
		{"targets that serve many architectures", func(o options, m []matrix) []matrix {
			o["target_modules"] = []string{"c_attn", "q_proj", "lm_head"}
			return m
		}, []string{`the base has no module "c_attn"`}, nil},
		{"a pattern with lookahead", func(o options, m []matrix) []matrix {
			o["target_modules"] = `model\.layers\.(?!7)\d\.(?P<kind>q)_proj`
			return m
		}, nil, nil},
		{"an embedding of the same size", func(o options, m []matrix) []matrix {
			o["modules_to_save"] = []string{"score", "embed_tokens"}
			return append(m, embedding("weight", 4))
		}, nil, func(t *testing.T, c *Checkpoint) {
			assert.Equal(t, numbers("base_model.model.model.embed_tokens.weight", 4*testIn), values(t, c, "model.embed_tokens.weight"))
		}},
		{"an embedding with one row more", func(o options, m []matrix) []matrix {
			o["modules_to_save"] = []string{"score", "embed_tokens"}
			same := numbers("both", 5*testIn)
			a, b := embedding("weight", 5), embedding("modules_to_save.weight", 5)
			a.values, b.values = same, same
			return append(m, a, b, embedding("original_module.weight", 5))
		}, []string{"5 rows", "the base has 4"}, func(t *testing.T, c *Checkpoint) {
			assert.Contains(t, string(c.Config), `"vocab_size": 5`)
			assert.Equal(t, numbers("both", 5*testIn), values(t, c, "model.embed_tokens.weight"))
		}},
		{"an embedding that nobody lists", func(_ options, m []matrix) []matrix { return append(m, embedding("weight", 6)) }, nil,
			func(t *testing.T, c *Checkpoint) { assert.Contains(t, string(c.Config), `"vocab_size": 6`) }},
		{"an output layer, which a reward model has none of", func(_ options, m []matrix) []matrix {
			return append(m, matrix{name: "base_model.model.lm_head.weight", shape: []int{4, testIn}})
		}, []string{"lm_head.weight is left out"}, func(t *testing.T, c *Checkpoint) { assert.NotContains(t, c.Names(), "lm_head.weight") }},
		{"names of torch.compile, DistributedDataParallel and the adapter", func(_ options, m []matrix) []matrix {
			for i := range m {
				m[i].values = numbers(m[i].name, m[i].shape[0]*m[i].shape[1])
				m[i].name = "module._orig_mod." + strings.NewReplacer("lora_A.", "lora_A.default.", "lora_B.", "lora_B.default.", "score.", "score.modules_to_save.default.").Replace(m[i].name)
			}
			return m
		}, nil, nil},
		{"modules to save by the end of their names", func(o options, m []matrix) []matrix {
			o["modules_to_save"] = []string{"score", "rm"} // PEFT's rule has no dots
			return append(m, matrix{name: "base_model.model.model.norm.weight", shape: []int{testIn}})
		}, nil, func(t *testing.T, c *Checkpoint) {
			assert.Equal(t, numbers("base_model.model.model.norm.weight", testIn), values(t, c, "model.norm.weight"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := adapterOptions()
			dir := writeAdapter(t, o, adapterTensors())
			tensors := c.edit(o, adapterTensors())
			writeAdapterTo(t, dir, o, tensors)
			got := mustOpen(t, dir)
			assert.Equal(t, numbers("base_model.model.score.weight", testIn), values(t, got, "score.weight"))
			assert.Contains(t, string(got.Config), "LlamaForSequenceClassification")
			assert.NotContains(t, got.Names(), "lm_head.weight")
			for _, s := range c.says {
				assert.Contains(t, strings.Join(got.Notes, "\n"), s)
			}
			if c.check != nil {
				c.check(t, got)
			}
		})
	}
}

func TestAdaptersWithoutOneMeaningSayWhatToDo(t *testing.T) {
	t.Run("two tensors of one name", func(t *testing.T) {
		m := append(adapterTensors(), matrix{name: "base_model.model.score.modules_to_save.weight", shape: []int{1, testIn}})
		_, err := Open(writeAdapter(t, adapterOptions(), m))
		assert.ErrorContains(t, err, "are one by their names and differ")
	})
	t.Run("an expression without an end", func(t *testing.T) {
		o := adapterOptions()
		o["target_modules"] = `(?:(?:\w+\.?)+)+!`
		_, err := Open(writeAdapter(t, o, adapterTensors()))
		assert.ErrorContains(t, err, "is not among the target_modules")
	})
	t.Run("halves that were not gathered", func(t *testing.T) {
		m := adapterTensors()
		m[1].shape = []int{0}
		_, err := Open(writeAdapter(t, adapterOptions(), m))
		assert.ErrorIs(t, err, ErrUngathered)
	})
	t.Run("weights and an adapter in one directory", func(t *testing.T) {
		o := adapterOptions()
		dir := writeAdapter(t, o, adapterTensors())
		want := mustOpen(t, dir)
		writeBase(t, dir) // the base's files beside the adapter's
		_, err := Open(dir)
		require.ErrorIs(t, err, ErrAdapter)
		assert.ErrorContains(t, err, "in one directory")
		o["base_model_name_or_path"] = "."
		writeAdapterTo(t, dir, o, adapterTensors())
		assertSameTensors(t, want, mustOpen(t, dir))
		require.NoError(t, os.Remove(filepath.Join(dir, adapterWeightsFile)))
		whole := mustOpen(t, dir)
		assert.Contains(t, strings.Join(whole.Notes, "\n"), "left alone")
		assert.Contains(t, whole.Names(), "lm_head.weight")
	})
	t.Run("a base that is weights and an adapter", func(t *testing.T) {
		dir := writeAdapter(t, adapterOptions(), adapterTensors())
		writeAdapterTo(t, filepath.Join(dir, "..", "base"), adapterOptions(), adapterTensors())
		_, err := Open(dir)
		assert.ErrorContains(t, err, "merge it first")
	})
	t.Run("a type that is wrong", func(t *testing.T) {
		o := adapterOptions()
		dir := writeAdapter(t, o, adapterTensors())
		raw, err := json.Marshal(o)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), bytes.Replace(raw, []byte(`"r":6`), []byte(`"r":"6"`), 1), 0o600))
		_, err = Open(dir)
		assert.ErrorContains(t, err, "adapter_config.json: r: holds a string where a whole number is wanted")
	})
}
