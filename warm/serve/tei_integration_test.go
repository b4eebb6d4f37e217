//go:build integration

package serve

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// teiModel is a class that TEI classifies with.
type teiModel struct {
	config    string
	tokenizer []byte
	within    float64 // how far rewards may be from the CPU's; 0 is float32's sums in another order
	inputs    func(t *testing.T) []api.Input
}

// teiModels are small ones. BERT's configuration says what TEI wants; RoBERTa's and DistilBERT's no
// more than this project does, and ModernBERT's is as transformers 5 writes it.
func teiModels() map[string]teiModel {
	const sizes = `"vocab_size":300,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,"num_attention_heads":4,"pad_token_id":299,`
	bert := `{"hidden_dropout_prob":0.1,"initializer_range":0.02,"type_vocab_size":2,"layer_norm_eps":1e-12,"architectures":["BertForSequenceClassification"],"model_type":"bert",` + sizes + `"max_position_embeddings":96,"hidden_act":%q}`
	types, none, twice := rewardtest.PairTokenizer(1, 1), rewardtest.PairTokenizer(1, 0), rewardtest.PairTokenizer(2, 0)
	return map[string]teiModel{
		"bert": {config: fmt.Sprintf(bert, "gelu_new"), tokenizer: types},
		// TEI computes its approximation by tanh in the place of the exact function.
		"bert, exact gelu": {config: fmt.Sprintf(bert, "gelu"), tokenizer: types, within: 2e-3},
		"roberta": {config: `{"architectures":["RobertaForSequenceClassification"],"model_type":"roberta",` + sizes +
			`"max_position_embeddings":396,"type_vocab_size":1,"hidden_act":"gelu_new"}`, tokenizer: twice},
		"distilbert": {config: `{"architectures":["DistilBertForSequenceClassification"],"model_type":"distilbert","vocab_size":300,"dim":64,` +
			`"hidden_dim":96,"n_layers":3,"n_heads":4,"max_position_embeddings":96,"activation":"relu"}`, tokenizer: none},
		"modernbert":       {config: modern("cls"), tokenizer: none},
		"modernbert, mean": {config: modern("mean"), tokenizer: none},
		"bert, words": {config: strings.Replace(fmt.Sprintf(bert, "gelu_new"), `"vocab_size":300`, `"vocab_size":30522`, 1),
			tokenizer: nil, inputs: words},
	}
}

func modern(pooling string) string {
	return `{"architectures":["ModernBertForSequenceClassification"],"model_type":"modernbert","vocab_size":300,"hidden_size":64,"intermediate_size":96,` +
		`"num_hidden_layers":4,"num_attention_heads":4,"max_position_embeddings":96,"hidden_activation":"gelu_new","classifier_activation":"gelu_new",` +
		`"classifier_pooling":"` + pooling + `","classifier_bias":false,"norm_bias":false,"norm_eps":1e-05,"attention_bias":false,"mlp_bias":false,` +
		`"local_attention":16,"global_attn_every_n_layers":3,"layer_types":["full_attention","sliding_attention","full_attention","sliding_attention"],` +
		`"rope_parameters":{"full_attention":{"rope_theta":160000.0,"rope_type":"default"},"sliding_attention":{"rope_theta":10000.0,"rope_type":"default"}},` +
		`"pad_token_id":299,"bos_token_id":0,"eos_token_id":1,"cls_token_id":0,"sep_token_id":1,"initializer_range":0.02,"initializer_cutoff_factor":2.0}`
}

// shared is a file of the reference material.
func shared(t *testing.T, path ...string) []byte {
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	data, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Skipf("reference material is absent: %v (set WARM_SHARED)", err)
	}
	return data
}

// mixed are pairs and texts from one token to more than the model takes.
func mixed(*testing.T) (in []api.Input) {
	for i := range 30 {
		in = append(in, api.Answers(fmt.Sprintf("question %d, in ümläuts and 字", i), "yes", "", strings.Repeat("a longer answer ", i%9)))
	}
	for i := range 20 {
		in = append(in, api.Text(strings.Repeat("x y", 1+i*i/8)))
	}
	return in
}

// words are pairs of lines that people wrote.
func words(t *testing.T) (in []api.Input) {
	lines := strings.FieldsFunc(string(shared(t, "tokenizers", "small_input.txt")), func(r rune) bool { return r == '\n' })
	for i := range lines {
		in = append(in, api.Answers(lines[i], lines[(i+7)%len(lines)], "I do not know, and can't say: isn't it 3.5 (or so)?"))
	}
	for i := range 20 {
		in = append(in, api.Text(strings.Repeat("unbelievably long tokenisation ", 1+i)))
	}
	return in
}

// tei is a router that is started by the words that warm says.
func tei(words []string, port string) *exec.Cmd {
	cmd := exec.Command(os.Getenv("WARM_TEI_ROUTER"), append(words[1:len(words):len(words)], "--hostname", "127.0.0.1", "--port", port,
		"--tokenization-workers", "1")...)
	cmd.Env = append(os.Environ(), "RAYON_NUM_THREADS=1", "TOKIO_WORKER_THREADS=1")
	return cmd
}

// router is one that was not started yet; dir is a folder, or all of a command.
func router(t *testing.T) *process {
	return newProcess(t, "TEI", func(dir, port string) *exec.Cmd {
		words := strings.Fields(dir)
		if len(words) == 1 {
			words = []string{"text-embeddings-router", "--dtype", "float32", "--model-id", dir}
		}
		return tei(words, port)
	})
}

// command is how warm says that the engine is to be started.
var command = regexp.MustCompile(`start it with (text-embeddings-router .*?), and load`)

// told waits until the server says how the engine is to be started, and returns that.
func (c *compared) told() (said string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		err := c.Ready(c.t.Context())
		if err == nil {
			return false
		}
		m := command.FindStringSubmatch(err.Error())
		if m != nil {
			said = m[1]
		}
		return m != nil
	}, time.Minute, 50*time.Millisecond)
	return said
}

// TestRealTEI needs text-embeddings-router: deploy/backends/run.sh builds it.
func TestRealTEI(t *testing.T) {
	if os.Getenv("WARM_TEI_ROUTER") == "" {
		t.Skip("WARM_TEI_ROUTER names no text-embeddings-router: deploy/backends/run.sh builds it")
	}
	for name, m := range teiModels() {
		t.Run(name, func(t *testing.T) {
			if m.tokenizer == nil {
				m.tokenizer = shared(t, "tokenizers", "bert_base_uncased", "tokenizer.json")
			}
			a, b := encoder(t, "a", m.config, m.tokenizer), encoder(t, "b", m.config, m.tokenizer)
			p := router(t)
			both := compare(t, &api.BackendSpec{TEI: "http://" + p.addr}, a, b)
			p.start(both.told()) // which is said though nobody answers there
			both.ready()
			both.within, both.cuts = max(both.within, m.within), true
			both.inputs = mixed(t)
			if m.inputs != nil {
				both.inputs = m.inputs(t)
			}
			both.same()
		})
	}
	t.Run("faults", onRealTEI)
}

func onRealTEI(t *testing.T) {
	m := teiModels()["bert"]
	a, b, c := encoder(t, "a", m.config, m.tokenizer), encoder(t, "b", m.config, m.tokenizer), encoder(t, "c", m.config, m.tokenizer)
	p := router(t)
	p.start(a)
	both := compare(t, &api.BackendSpec{TEI: "http://" + p.addr}, a, b)
	// It serves a member, and takes no average while it runs.
	first := both.told()
	assert.ErrorContains(t, both.Ready(t.Context()), "it serves "+a+", which is not this average")
	p.kill()
	p.start(first)
	both.ready()
	both.inputs, both.cuts = mixed(t), true
	both.same()

	// What is no text's, and what is that of none, are refused alone.
	bad := append([]api.Input{api.Tokens(0, 2+0xc3, 1), api.Tokens(0, 1)}, both.inputs...)
	got, err := both.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: bad, OnError: api.OnErrorItem})
	require.NoError(t, err)
	for i, r := range got.Data {
		if i < 2 {
			require.NotNil(t, r.Error, "item %d", i)
			assert.Equal(t, api.CodeNonFinite, r.Error.Code)
			continue
		}
		assert.True(t, r.Error == nil || r.Error.Code == api.CodeNonFinite, "item %d: %v", i, r.Error) // see same
	}

	// Killed under load: 503, and once it is started again on the same, rewards.
	stop := both.load(3)
	time.Sleep(time.Second)
	p.kill()
	time.Sleep(2 * time.Second)
	_, err = both.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: both.inputs[:1]})
	assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
	assert.ErrorContains(t, both.Ready(t.Context()), "model there cannot be scored")
	p.start(first)
	both.ready()
	time.Sleep(time.Second)
	answered, failed := stop()
	t.Logf("%d requests were answered and %d were not, as TEI was killed and started again", answered, len(failed))
	for _, err := range failed {
		assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
	}
	both.same()

	// Another revision: the load fails and says on what it is to be started, and what is live goes on.
	_, err = both.PutModel(t.Context(), "there", &api.ModelSpec{Members: membersOf(b, c)}, true)
	require.Error(t, err)
	next := command.FindStringSubmatch(err.Error())
	require.NotNil(t, next, "%v", err)
	both.same()
	p.kill()
	p.start(next[1])
	// It is not what was live, which cannot be scored, and is after it was loaded again.
	require.Eventually(t, func() bool {
		_, err := both.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: both.inputs[:1]})
		return api.IsCode(err, api.CodeNotReady)
	}, time.Minute, 50*time.Millisecond)
	for _, name := range []string{"there", "here"} {
		_, err = both.PutModel(t.Context(), name, &api.ModelSpec{Members: membersOf(b, c)}, true)
		require.NoError(t, err)
	}
	both.same()

	// Another model in a folder of the name: its scores are not this model's.
	words := strings.Fields(next[1])
	folder := words[len(words)-1]
	impostor := filepath.Join(t.TempDir(), filepath.Base(folder))
	require.NoError(t, os.CopyFS(impostor, os.DirFS(folder)))
	other := words[: len(words)-1 : len(words)-1]
	config, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	weights, err := os.ReadFile(filepath.Join(a, "model.safetensors"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(impostor, "model.safetensors"), weights, 0o600))
	p.kill()
	_, _ = both.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: both.inputs[:1]})
	p.start(strings.Join(append(other, impostor), " "))
	disbelieved(t, both, "its scores are not this model's")

	// A model of embeddings.
	plain := filepath.Join(t.TempDir(), filepath.Base(folder))
	require.NoError(t, os.CopyFS(plain, os.DirFS(folder)))
	require.NoError(t, os.WriteFile(filepath.Join(plain, "config.json"), bytes.ReplaceAll(config, []byte("ForSequenceClassification"), []byte("Model")), 0o600))
	p.kill()
	p.start(strings.Join(append(other, plain), " "))
	disbelieved(t, both, "as a model of embeddings")
	p.kill()
	p.start(next[1])
	both.ready()
	both.same()
}

// disbelieved waits until the server says that the engine's model is another, and no reward comes of it.
func disbelieved(t *testing.T, c *compared, why string) {
	t.Helper()
	require.Eventually(t, func() bool { err := c.Ready(t.Context()); return err != nil && strings.Contains(err.Error(), why) }, time.Minute, 50*time.Millisecond)
	_, err := c.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: c.inputs[:1]})
	assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
}
