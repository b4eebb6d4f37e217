package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mostTEI is TEI's own limit on the sequences of a request.
const mostTEI = 32

// tei answers as text-embeddings-inference 1.9 does.
func (s *Server) tei(w http.ResponseWriter, r *http.Request, data []byte) {
	of, dir, _ := s.now()
	wrong := func(status int, kind string, err error) {
		reply(w, status, map[string]any{"error": err.Error(), "error_type": kind})
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /info":
		labels := of.files["id2label"].(map[string]any)
		kind := "reranker"
		if len(labels) > 1 {
			kind = "classifier"
		}
		reply(w, http.StatusOK, map[string]any{"model_id": dir, "model_sha": nil, "model_dtype": "float32", "served_model_name": dir,
			"model_type":       map[string]any{kind: map[string]any{"id2label": labels, "label2id": of.files["label2id"]}},
			"max_input_length": s.longest(of), "max_client_batch_size": mostTEI, "auto_truncate": true, "version": "1.9.3"})
	case "POST /predict":
		var q struct {
			Inputs   [][]string `json:"inputs"`
			Raw      bool       `json:"raw_scores"`
			Truncate *bool      `json:"truncate"`
		}
		if err := strict(data, &q); err != nil {
			wrong(http.StatusUnprocessableEntity, "validation", err)
			return
		}
		if len(q.Inputs) > mostTEI {
			wrong(http.StatusUnprocessableEntity, "validation", fmt.Errorf("batch size %d > maximum allowed batch size %d", len(q.Inputs), mostTEI))
			return
		}
		var ids, types [][]int32
		for _, texts := range q.Inputs {
			if strings.Join(texts, "") == "" {
				wrong(http.StatusBadRequest, "empty", errors.New("`inputs` cannot be empty"))
				return
			}
			one, of := of.encode(texts)
			ids, types = append(ids, one), append(types, of)
		}
		rows, err := s.outputs(of, ids, types)
		if err != nil {
			wrong(http.StatusUnprocessableEntity, "validation", err)
			return
		}
		var out []any
		for _, row := range rows {
			var labels []prediction
			for i, v := range row {
				if math.IsNaN(float64(v)) {
					wrong(http.StatusFailedDependency, "backend", fmt.Errorf("score is NaN"))
					return
				}
				if !q.Raw {
					v = float32(1 / (1 + math.Exp(-float64(v))))
				}
				labels = append(labels, prediction{Score: v, Label: of.files["id2label"].(map[string]any)[strconv.Itoa(i)].(string)})
			}
			slices.SortFunc(labels, func(a, b prediction) int {
				if a.Score > b.Score {
					return -1
				}
				return 1
			})
			out = append(out, labels)
		}
		reply(w, http.StatusOK, out)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

type prediction struct {
	Score float32 `json:"score"`
	Label string  `json:"label"`
}

// teiNeeds are the keys of config.json that TEI has no defaults for, by the type of the model.
var teiNeeds = map[string][]string{
	"bert": {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob",
		"max_position_embeddings", "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id"},
	"distilbert": {"vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "activation", "max_position_embeddings", "pad_token_id"},
	"modernbert": {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_activation",
		"max_position_embeddings", "initializer_range", "initializer_cutoff_factor", "norm_eps", "norm_bias", "pad_token_id", "eos_token_id",
		"bos_token_id", "cls_token_id", "sep_token_id", "global_rope_theta", "attention_bias", "attention_dropout", "global_attn_every_n_layers",
		"local_attention", "local_rope_theta", "classifier_activation"},
}

// teiActivations are those that TEI has names for.
var teiActivations = []string{"gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swiglu", "tanh"}

// TEIReads says why TEI would not start on a directory; nil when it would.
func TEIReads(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return err
	}
	var said map[string]any
	if err := json.Unmarshal(data, &said); err != nil {
		return err
	}
	kind, _ := said["model_type"].(string)
	keys, ok := teiNeeds[map[string]string{"roberta": "bert", "xlm-roberta": "bert", "camembert": "bert"}[kind]]
	if !ok {
		keys, ok = teiNeeds[kind]
	}
	if !ok {
		return fmt.Errorf("the model is not supported: unknown variant `%s`", kind)
	}
	for _, key := range append([]string{"id2label", "label2id"}, keys...) {
		if said[key] == nil {
			return fmt.Errorf("the model is not supported: missing field `%s`", key)
		}
	}
	for _, key := range []string{"hidden_act", "activation", "hidden_activation", "classifier_activation"} {
		if name, ok := said[key].(string); ok && !slices.Contains(teiActivations, name) {
			return fmt.Errorf("the model is not supported: unknown variant `%s`", name)
		}
	}
	return nil
}
