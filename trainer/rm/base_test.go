package rm

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/state"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// other is a source whose tensors have other names, and that may have more.
type other struct {
	model.Source
	own   map[string]string
	extra map[string][]int
}

func (o *other) Names() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(o.own)), slices.Collect(maps.Keys(o.extra))...)))
}

func (o *other) Shape(name string) ([]int, bool) {
	if s, ok := o.extra[name]; ok {
		return s, true
	}
	return o.Source.Shape(o.own[name])
}

func (o *other) ReadAt(dst []float32, name string, offset int) error {
	if _, ok := o.extra[name]; ok {
		clear(dst)
		return nil
	}
	return o.Source.ReadAt(dst, o.own[name], offset)
}

// writeBody writes a body of a class of reward models, whose tensors get the names that name returns, "" for none, and extra ones.
func writeBody(t *testing.T, class, config string, as map[string]any, name func(string) string, extra map[string][]int) string {
	full := map[string]any{"architectures": []string{class}, "num_labels": 1, "vocab_size": 300, "max_position_embeddings": 96, "pad_token_id": 0}
	require.NoError(t, json.Unmarshal([]byte(config), &full))
	data, err := json.Marshal(full)
	require.NoError(t, err)
	cfg, err := model.ParseConfig(data)
	require.NoError(t, err)
	return rewardtest.Checkpoint(t, "body", func(c *loader.Contents) {
		delete(full, "num_labels")
		maps.Copy(full, as)
		c.Config, err = json.Marshal(full)
		require.NoError(t, err)
		src := model.NewRandom(cfg, 1)
		o := &other{Source: src, own: map[string]string{}, extra: extra}
		for _, n := range src.Names() {
			if to := name(n); to != "" {
				o.own[to] = n
			}
		}
		c.Source = o
	})
}

const small = `{"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,`

// bodies are checkpoints without a score head, as transformers writes them.
var bodies = map[string]struct {
	class, config string
	as            map[string]any
	name          func(string) string
	extra         map[string][]int
	fresh         []string // beside the score head
}{
	"a language model": {"LlamaForSequenceClassification", small + `"model_type":"llama"}`, class("LlamaForCausalLM"), lacking("score."), map[string][]int{"lm_head.weight": {300, 16}}, nil},
	"a decoder alone":  {"LlamaForSequenceClassification", small + `"model_type":"llama"}`, class("LlamaModel"), cut("model.", lacking("score.")), nil, nil},
	"GPT-2 as it was published": {"GPT2ForSequenceClassification", `{"n_embd":16,"n_layer":2,"n_head":2,"n_positions":96,"model_type":"gpt2"}`, class("GPT2LMHeadModel"),
		cut("transformer.", lacking("score.")), nil, nil},
	"Pythia":                 {"GPTNeoXForSequenceClassification", small + `"model_type":"gpt_neox"}`, class("GPTNeoXForCausalLM"), lacking("score."), map[string][]int{"embed_out.weight": {300, 16}}, nil},
	"a body without a class": {"Qwen2ForSequenceClassification", small + `"model_type":"qwen2"}`, map[string]any{"architectures": nil}, lacking("score."), nil, nil},
	"BERT alone":             {"BertForSequenceClassification", small + `"model_type":"bert"}`, class("BertModel"), cut("bert.", lacking("classifier.")), nil, nil},
	"BERT alone, without a pooler": {"BertForSequenceClassification", small + `"model_type":"bert"}`, class("BertModel"), cut("bert.", lacking("classifier.", "bert.pooler.")), nil,
		[]string{"bert.pooler.dense.weight", "bert.pooler.dense.bias"}},
	"BERT that fills gaps": {"BertForSequenceClassification", small + `"model_type":"bert"}`, class("BertForMaskedLM"), lacking("classifier.", "bert.pooler."),
		map[string][]int{"cls.predictions.bias": {300}, "cls.predictions.transform.dense.weight": {16, 16}}, []string{"bert.pooler.dense.weight", "bert.pooler.dense.bias"}},
	"RoBERTa that fills gaps": {"RobertaForSequenceClassification", small + `"model_type":"roberta","type_vocab_size":1,"pad_token_id":1}`, class("RobertaForMaskedLM"), lacking("classifier."),
		map[string][]int{"lm_head.bias": {300}, "lm_head.dense.weight": {16, 16}}, []string{"classifier.dense.weight", "classifier.dense.bias"}},
	"XLM-RoBERTa alone, with a pooler": {"XLMRobertaForSequenceClassification", small + `"model_type":"xlm-roberta","type_vocab_size":1,"pad_token_id":1}`, class("XLMRobertaModel"), cut("roberta.", lacking("classifier.")),
		map[string][]int{"pooler.dense.weight": {16, 16}, "pooler.dense.bias": {16}}, []string{"classifier.dense.weight", "classifier.dense.bias"}},
	"DistilBERT that fills gaps": {"DistilBertForSequenceClassification", `{"dim":16,"hidden_dim":24,"n_layers":2,"n_heads":2,"model_type":"distilbert"}`, class("DistilBertForMaskedLM"),
		lacking("classifier.", "pre_classifier."), map[string][]int{"vocab_transform.weight": {16, 16}, "vocab_projector.bias": {300}}, []string{"pre_classifier.weight", "pre_classifier.bias"}},
	"ELECTRA's discriminator": {"ElectraForSequenceClassification", small + `"model_type":"electra","embedding_size":8}`, class("ElectraForPreTraining"), lacking("classifier."),
		map[string][]int{"discriminator_predictions.dense.weight": {16, 16}}, []string{"classifier.dense.weight", "classifier.dense.bias"}},
	"ALBERT alone": {"AlbertForSequenceClassification", small + `"model_type":"albert","embedding_size":8}`, class("AlbertModel"), cut("albert.", lacking("classifier.")), nil, nil},
	"DeBERTa alone": {"DebertaV2ForSequenceClassification", small + `"model_type":"deberta-v2","relative_attention":true,"pos_att_type":"p2c|c2p","share_att_key":true,"position_buckets":8,"type_vocab_size":0,"norm_rel_ebd":"layer_norm"}`,
		class("DebertaV2Model"), cut("deberta.", lacking("classifier.", "pooler.")), nil, []string{"pooler.dense.weight", "pooler.dense.bias"}},
	"ModernBERT that fills gaps": {"ModernBertForSequenceClassification", small + `"model_type":"modernbert"}`, class("ModernBertForMaskedLM"), lacking("classifier."), map[string][]int{"decoder.bias": {300}}, nil},
	"ModernBERT alone": {"ModernBertForSequenceClassification", small + `"model_type":"modernbert"}`, class("ModernBertModel"), cut("model.", lacking("classifier.", "head.")), nil,
		[]string{"head.dense.weight", "head.norm.weight"}},
}

func class(name string) map[string]any { return map[string]any{"architectures": []string{name}} }

// lacking leaves out the tensors that begin so.
func lacking(prefixes ...string) func(string) string {
	return func(n string) string {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(n, p) }) {
			return ""
		}
		return n
	}
}

// cut removes a prefix of what another function leaves.
func cut(prefix string, of func(string) string) func(string) string {
	return func(n string) string { return strings.TrimPrefix(of(n), prefix) }
}

// TestSentenceTransformersAreBasesWithTheirOwnPooling trains what reads the mean of all tokens, or the first, and reads it back.
func TestSentenceTransformersAreBasesWithTheirOwnPooling(t *testing.T) {
	pairs := Lines(t, "pairs.jsonl", Good1, Good2, Good3)
	for _, name := range []string{"BERT alone", "BERT alone, without a pooler", "XLM-RoBERTa alone, with a pooler", "DistilBERT that fills gaps", "ELECTRA's discriminator", "ALBERT alone", "DeBERTa alone", "ModernBERT alone"} {
		for mode, words := range map[string]string{`{"word_embedding_dimension":16,"pooling_mode_cls_token":false,"pooling_mode_mean_tokens":true,"include_prompt":true}`: "the mean of all",
			`{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}`: "the first, as the encoder leaves it", `{"pooling_mode":"mean"}`: "the mean of all"} {
			t.Run(name+mode, func(t *testing.T) {
				b := bodies[name]
				dir := writeBody(t, b.class, b.config, b.as, b.name, b.extra)
				writeModules(t, dir, mode)
				s, err := reward.Inspect(dir)
				require.ErrorIs(t, err, model.ErrNoHead)
				assert.Equal(t, words, s.Pooling)
				for _, lora := range []*model.LoRAConfig{nil, {Rank: 2, Alpha: 4, Targets: []string{"query", "q_lin", "query_proj", "Wqkv"}}} {
					run := Config{Base: dir, Train: []string{pairs}, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-3, Batch: 2, Probe: 3}
					if lora != nil {
						base, err := (&Config{Base: dir}).openBase()
						require.NoError(t, err)
						lora.Targets = loraTargets(base)
						require.NoError(t, base.Checkpoint.Close())
						run.LoRA = lora
					}
					_, err = Train(t.Context(), run)
					require.NoError(t, err)
					for _, out := range written(run) {
						s, err = reward.Inspect(out)
						require.NoError(t, err)
						assert.Equal(t, words, s.Pooling)
						assert.NotContains(t, strings.Join(s.Notes, " "), "not followed")
					}
				}
			})
		}
	}
	for mode, says := range map[string]string{`{"pooling_mode_max_tokens":true}`: `"max"`, `{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true}`: `"cls and mean"`,
		`{"pooling_mode":"weightedmean"}`: `"weightedmean"`, `{}`: `""`, `{"pooling_mode_lasttoken":true}`: "the last of an encoder"} {
		dir := writeBody(t, bodies["BERT alone"].class, bodies["BERT alone"].config, bodies["BERT alone"].as, bodies["BERT alone"].name, nil)
		writeModules(t, dir, mode)
		_, err := (&Config{Base: dir}).openBase()
		assert.ErrorContains(t, err, says)
	}
}

// writeModules makes a directory one of sentence-transformers.
func writeModules(t *testing.T, dir, pooling string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.json"), []byte("[]"), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "1_Pooling"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1_Pooling", "config.json"), []byte(pooling), 0o644))
}

// TestEveryBodyIsABaseForTraining begins with each kind of body, and opens what training makes of it as a reward model.
func TestEveryBodyIsABaseForTraining(t *testing.T) {
	pairs := Lines(t, "pairs.jsonl", Good1, Good2, Good3)
	for name, b := range bodies {
		t.Run(name, func(t *testing.T) {
			dir := writeBody(t, b.class, b.config, b.as, b.name, b.extra)
			s, err := reward.Inspect(dir)
			require.ErrorIs(t, err, model.ErrNoHead)
			require.NotNil(t, s, "%v", err)
			assert.Equal(t, b.class, s.Config.Architecture)
			for _, n := range b.fresh {
				assert.Contains(t, s.Head, n)
			}
			base, err := (&Config{Base: dir}).openBase()
			require.NoError(t, err)
			defer base.Checkpoint.Close()
			assert.ElementsMatch(t, append(slices.Clone(b.fresh), base.parsed.HeadTensors()...), base.body.New)
			assertBegins(t, base)
			for _, lora := range []*model.LoRAConfig{nil, {Rank: 2, Alpha: 4, Targets: loraTargets(base)}} {
				run := Config{Base: dir, Train: []string{pairs}, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-3, Batch: 2, Probe: 3, LoRA: lora}
				_, err = Train(t.Context(), run)
				if lora != nil && b.class == "GPT2ForSequenceClassification" {
					require.ErrorContains(t, err, "no low-rank change is learned")
					continue
				}
				require.NoError(t, err)
				for _, out := range written(run) {
					s, err = reward.Inspect(out)
					require.NoError(t, err, out)
					assert.Equal(t, b.class, s.Config.Architecture)
				}
				_, err = Train(t.Context(), Config{Base: run.Out, Train: []string{pairs}, Out: filepath.Join(t.TempDir(), "again"), LR: 1e-3, Batch: 2, NoProbe: true})
				require.NoError(t, err)
			}
		})
	}
}

// loraTargets are some linear layers of a base by the last part of their names.
func loraTargets(b *Base) []string {
	var out []string
	for _, n := range b.body.Names() {
		shape, _ := b.body.Shape(n)
		module := strings.TrimSuffix(n, ".weight")
		last := module[strings.LastIndexByte(module, '.')+1:]
		if slices.Contains([]string{"q_proj", "query", "q_lin", "query_proj", "query_key_value", "c_attn", "Wqkv"}, last) && len(shape) == 2 && !slices.Contains(out, last) {
			out = append(out, last)
		}
	}
	return out
}

// assertBegins holds what the new parameters are, the same each time and in any piece.
func assertBegins(t *testing.T, b *Base) {
	for _, n := range b.body.New {
		shape, _ := b.body.Shape(n)
		count := 1
		for _, d := range shape {
			count *= d
		}
		whole, part := make([]float32, count), make([]float32, count-count/2)
		require.NoError(t, b.body.ReadAt(whole, n, 0))
		require.NoError(t, b.body.ReadAt(part, n, count/2))
		assert.Equal(t, whole[count/2:], part, n)
		zero := !slices.ContainsFunc(whole, func(v float32) bool { return v != 0 })
		assert.Equal(t, slices.Contains(b.parsed.HeadTensors(), n) || strings.HasSuffix(n, ".bias"), zero, n)
	}
}

func TestABodyMustBeWholeAndKnown(t *testing.T) {
	for name, c := range map[string]struct {
		name  func(string) string
		extra map[string][]int
		says  string
	}{
		"a tensor is missing":  {lacking("score.", "model.norm."), nil, "missing: model.norm.weight"},
		"a tensor is unknown":  {lacking("score."), map[string][]int{"model.layers.0.self_attn.extra.weight": {2, 2}}, "unknown: model.layers.0.self_attn.extra.weight"},
		"a norm is mis-shaped": {lacking("score.", "model.norm."), map[string][]int{"model.norm.weight": {3}}, "model.norm.weight: shape [3], want [16]"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeBody(t, "LlamaForSequenceClassification", small+`"model_type":"llama"}`, class("LlamaForCausalLM"), c.name, c.extra)
			_, err := (&Config{Base: dir}).openBase()
			assert.ErrorContains(t, err, c.says)
			_, err = reward.Inspect(dir)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

// WriteBody writes one of the bodies with the pooling of sentence-transformers, "" for none.
func WriteBody(t *testing.T, name, pooling string) string {
	b := bodies[name]
	dir := writeBody(t, b.class, b.config, b.as, b.name, b.extra)
	if pooling != "" {
		writeModules(t, dir, `{"pooling_mode":"`+pooling+`"}`)
	}
	return dir
}

// TestThePoolingOfABodyIsChosen trains bodies with every pooling that is chosen, whatever their 1_Pooling says, and reads back what was written.
func TestThePoolingOfABodyIsChosen(t *testing.T) {
	pairs := Lines(t, "pairs.jsonl", Good1, Good2, Good3)
	for _, c := range []struct{ body, said, chosen, words, card string }{
		{"BERT alone", "", "", "first (pooler)", ""},
		{"BERT alone", "mean", "pooler", "first (pooler)", ""},
		{"BERT alone", "", "first", "the first, as the encoder leaves it", "states[:, 0]\nrewards = pooled @ weights[\"classifier.weight\"].T + weights[\"classifier.bias\"]"},
		{"BERT alone", "cls", "mean", "the mean of all", "(states * mask).sum(1) / mask.sum(1)"},
		{"ModernBERT alone", "", "mean", "the mean of all", "mask.sum(1)"},
		{"a decoder alone", "mean", "last", "the last that is not padding", ""},
		{"a decoder alone", "", "mean", "the mean of all", "rewards = pooled @ weights[\"score.weight\"].T\n"},
	} {
		t.Run(c.body+", "+c.said+", "+c.chosen, func(t *testing.T) {
			run := Config{Base: WriteBody(t, c.body, c.said), Train: []string{pairs}, Pooling: c.chosen, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-3, Batch: 2, Probe: 3}
			_, err := Train(t.Context(), run)
			require.NoError(t, err)
			plan := Plan{Out: filepath.Join(t.TempDir(), "runs"), Run: run, M: 1}
			plan.Run.Out = ""
			require.NoError(t, plan.Initialize(t.Context()))
			members, err := plan.Expand()
			require.NoError(t, err)
			require.NoError(t, plan.TrainMembers(t.Context(), members, 1, nil))
			for _, out := range []string{run.Out, members[0].Config.Out} {
				s, err := reward.Inspect(out)
				require.NoError(t, err)
				assert.Contains(t, s.Pooling, c.words)
				card, err := os.ReadFile(filepath.Join(out, cardFile))
				if c.card == "" {
					assert.ErrorIs(t, err, os.ErrNotExist, "transformers reads it as it is")
				} else {
					assert.Contains(t, string(card), c.card)
				}
			}
		})
	}
	base := WriteBody(t, "BERT alone", "")
	run := Config{Base: base, Train: []string{pairs}, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-3, Batch: 2}
	_, err := Train(t.Context(), run)
	require.NoError(t, err)
	for _, c := range []struct{ base, pooling, says string }{
		{base, "last", "\"last\" is not for an encoder"},
		{WriteBody(t, "a decoder alone", ""), "pooler", "\"pooler\" is not for a decoder"},
		{base, "max", "want pooler, first or mean of an encoder"},
		{run.Out, "mean", "it has a score head, which is read as it was trained"},
	} {
		_, err := Train(t.Context(), Config{Base: c.base, Pooling: c.pooling, Train: []string{pairs}, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-3})
		assert.ErrorContains(t, err, c.says)
	}
	plan := Plan{Out: t.TempDir(), Run: Config{Base: base, Train: []string{pairs}, LR: 1e-3}, Members: []json.RawMessage{json.RawMessage(`{"pooling":"mean"}`)}}
	_, err = plan.Expand()
	assert.ErrorContains(t, err, "pooling is the plan's")
}

// written are the directories of a run's result.
func written(c Config) []string {
	if c.LoRA == nil {
		return []string{c.Out}
	}
	return []string{state.AdapterDir(c.Out), c.Out}
}

// The tokenizer that is in force may have tokens that only tokenizer_config.json adds.
func TestBatchesArePaddedWithATokenThatTheConfigurationAdds(t *testing.T) {
	file, err := os.ReadFile(shared(t, "tokenizers/gpt2/tokenizer.json"))
	require.NoError(t, err)
	pad := func(config string) (int32, error) {
		c := &loader.Checkpoint{Tokenizer: file, TokenizerConfig: []byte(config)}
		return (&Base{Checkpoint: c, parsed: &model.Config{}}).padding()
	}
	id, err := pad(`{"eos_token": "<|done|>", "added_tokens_decoder": {"50257": {"content": "<|done|>", "special": true}}}`)
	require.NoError(t, err)
	assert.EqualValues(t, 50257, id)
	id, err = pad(`{"eos_token": "<|endoftext|>"}`)
	require.NoError(t, err)
	assert.EqualValues(t, 50256, id)
	_, err = pad(`{}`)
	assert.ErrorContains(t, err, "no padding token")
}
