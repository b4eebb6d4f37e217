package backend

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/backend/backendtest"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// small is a configuration of a class that says no more than has no default here.
func small(class, kind, more string) string {
	return fmt.Sprintf(`{"architectures":["%sForSequenceClassification"],"model_type":%q,"vocab_size":300,"max_position_embeddings":400,`+
		`"hidden_size":32,"intermediate_size":48,"num_hidden_layers":4,"num_attention_heads":2,"id2label":{"0":"LABEL_0"}%s}`, class, kind, more)
}

const modernKeys = `,"pad_token_id":299,"classifier_pooling":"mean","hidden_activation":"swish","rope_parameters":{"full_attention":{"rope_theta":5000.0},` +
	`"sliding_attention":{"rope_theta":700.0}},"local_attention":8,"layer_types":["full_attention","sliding_attention","full_attention","sliding_attention"]`

// TEI has no defaults for keys that are absent, and knows the spelling of transformers 4 alone:
// what is written for it says all that it wants, whatever the checkpoint's says.
func TestTEIIsToldWhatItHasNoDefaultsFor(t *testing.T) {
	distil := `{"architectures":["DistilBertForSequenceClassification"],"model_type":"distilbert","vocab_size":300,"dim":32,"hidden_dim":48,` +
		`"n_layers":2,"n_heads":2,"max_position_embeddings":64,"id2label":{"0":"LABEL_0"}}`
	for name, tc := range map[string]struct{ config, want string }{
		"bert": {small("Bert", "bert", `,"hidden_act":"gelu_fast","pad_token_id":null`),
			`{"hidden_act":"gelu_new","layer_norm_eps":1e-12,"pad_token_id":0,"type_vocab_size":2,"label2id":{"LABEL_0":0}}`},
		"roberta":    {small("Roberta", "roberta", `,"type_vocab_size":1,"pad_token_id":299`), `{"hidden_act":"gelu","pad_token_id":299,"type_vocab_size":1}`},
		"distilbert": {distil, `{"activation":"gelu","pad_token_id":0,"dim":32}`},
		"modernbert": {small("ModernBert", "modernbert", modernKeys),
			`{"global_attn_every_n_layers":2,"local_attention":8,"global_rope_theta":5000,"local_rope_theta":700,"classifier_pooling":"mean",` +
				`"hidden_activation":"silu","classifier_activation":"gelu","num_labels":1,"norm_bias":false}`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := member(t, "a", tc.config, nil, rewardtest.PairTokenizer(1, 0))
			e := New(Options{Kind: TEI, URL: "http://127.0.0.1:1", Directory: t.TempDir()})
			defer e.Close()
			d, err := reward.Open(t.Context(), config(e, dir), 1)
			require.NoError(t, err)
			defer d.Close()
			folder := d.Average().(*Model).dir
			require.NoError(t, backendtest.TEIReads(folder))
			data, err := os.ReadFile(filepath.Join(folder, "config.json"))
			require.NoError(t, err)
			var got, want map[string]any
			require.NoError(t, json.Unmarshal(data, &got))
			require.NoError(t, json.Unmarshal([]byte(tc.want), &want))
			for key, v := range want {
				assert.Equal(t, v, got[key], key)
			}
		})
	}
}

func TestWhatTEIWouldLeaveOutIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"deberta":         {small("DebertaV2", "deberta-v2", `,"relative_attention":true,"pos_att_type":"c2p|p2c"`), "attend to their padding"},
		"another encoder": {small("Electra", "electra", ""), "the model is a ElectraForSequenceClassification"},
		"no pooler":       {small("Roberta", "roberta", `,"pad_token_id":299,"warmserve":{"pooler":false}`), "its class has a layer between"},
		"a mean":          {small("Bert", "bert", `,"warmserve":{"pooler":false,"pooling":"mean"}`), "its class has a layer between"},
		"biases of norms": {small("ModernBert", "modernbert", `,"pad_token_id":299,"norm_bias":true`), "norm_bias"},
		"bias of a head":  {small("ModernBert", "modernbert", `,"pad_token_id":299,"classifier_bias":true`), "classifier_bias"},
		"a pattern": {small("ModernBert", "modernbert", strings.Replace(modernKeys, `"full_attention","sliding_attention","full_attention",`,
			`"full_attention","full_attention","sliding_attention",`, 1)), "layer_types"},
		"no first layer": {small("ModernBert", "modernbert", strings.Replace(modernKeys, `["full_attention","sliding_attention","full_attention",`,
			`["sliding_attention","sliding_attention","full_attention",`, 1)), "layer_types"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := member(t, "a", tc.config, nil, rewardtest.PairTokenizer(1, 0))
			e := New(Options{Kind: TEI, URL: "http://127.0.0.1:1", Directory: t.TempDir()})
			defer e.Close()
			_, err := reward.Open(t.Context(), config(e, dir), 1)
			assert.ErrorContains(t, err, tc.want)
		})
	}
}
