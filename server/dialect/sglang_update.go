package dialect

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// SGLangInfo is the reply of SGLang's GET /get_model_info.
type SGLangInfo struct {
	ModelPath     string `json:"model_path"`
	TokenizerPath string `json:"tokenizer_path"`
	IsGeneration  bool   `json:"is_generation"`
	WeightVersion string `json:"weight_version"`
}

// NewSGLangInfo says a model's name where SGLang says its path: where a
// checkpoint lies is for administrators alone.
func NewSGLangInfo(name, revision string) SGLangInfo { return SGLangInfo{name, name, false, revision} }

// SGLangUpdated is the reply of SGLang's POST /update_weights_from_disk. No
// request is ever paused: the old weights answer until the new ones do.
type SGLangUpdated struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	Paused  int    `json:"num_paused_requests"`
}

// DecodeSGLangUpdate reads the path of the checkpoint to load. What of the body
// is about caches (flush_cache, torch_empty_cache, recapture_cuda_graph,
// token_step) has nothing to do here and is left out.
func DecodeSGLangUpdate(body []byte) (path string, err error) {
	var r struct {
		ModelPath     string         `json:"model_path"`
		LoadFormat    jsontext.Value `json:"load_format"`
		WeightVersion jsontext.Value `json:"weight_version"`
		Async         jsontext.Value `json:"is_async"`
		Abort         jsontext.Value `json:"abort_all_requests"`
		Pause         jsontext.Value `json:"keep_pause"`
	}
	if err := api.DecodeLenient(body, &r); err != nil {
		return "", err
	}
	err = refuseUnread(
		unread{"load_format", r.LoadFormat, []string{`"auto"`, `"safetensors"`},
			"checkpoints are safetensors: want auto"},
		unread{"weight_version", r.WeightVersion, nil,
			"the version of weights is their revision, a hash of what is served: read it from GET /get_model_info or the header X-Model-Revision"},
		unread{"is_async", r.Async, []string{"false"},
			"the answer comes when the weights are live; PUT /v1/models/{name} answers at once"},
		unread{"abort_all_requests", r.Abort, []string{"false"},
			"no request is aborted: the old weights answer until the new ones do"},
		unread{"keep_pause", r.Pause, []string{"false"}, "nothing is paused"},
	)
	if err != nil {
		return "", err
	}
	if r.ModelPath == "" {
		return "", api.Errorf(api.CodeMissingField, "model_path", "model_path is missing")
	}
	return r.ModelPath, nil
}
