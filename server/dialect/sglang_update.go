package dialect

import "github.com/warmserve/warmserve/api"

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

// DecodeSGLangUpdate reads the path of the checkpoint to load.
func DecodeSGLangUpdate(body []byte) (path string, err error) {
	var r struct {
		ModelPath string `json:"model_path"`
	}
	if err := api.DecodeLenient(body, &r); err != nil {
		return "", err
	}
	if r.ModelPath == "" {
		return "", api.Errorf(api.CodeMissingField, "model_path", "model_path is missing")
	}
	return r.ModelPath, nil
}
