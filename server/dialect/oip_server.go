package dialect

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// The bodies of the Open Inference Protocol besides infer's.
type (
	// OIPServer is the reply of GET /v2.
	OIPServer struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}
	// OIPLive is the reply of GET /v2/health/live and, with Ready, of
	// /v2/health/ready: the protocol's document has "live" in both.
	OIPLive struct {
		Live  bool  `json:"live"`
		Ready *bool `json:"ready,omitzero"`
	}
	// OIPModelReady is the reply of GET /v2/models/{name}/ready.
	OIPModelReady struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}
	// OIPModel is the reply of GET /v2/models/{name}.
	OIPModel struct {
		Name     string      `json:"name"`
		Versions []string    `json:"versions"`
		Platform string      `json:"platform"`
		Inputs   []OIPTensor `json:"inputs"`
		Outputs  []OIPTensor `json:"outputs"`
	}
	// OIPTensor describes a tensor; -1 is any length.
	OIPTensor struct {
		Name     string `json:"name"`
		Datatype string `json:"datatype"`
		Shape    []int  `json:"shape"`
	}
	// OIPIndexed is one model of POST /v2/repository/index.
	OIPIndexed struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		State   string `json:"state"` // READY, LOADING or UNAVAILABLE
		Reason  string `json:"reason"`
	}
	// OIPChanged is the reply of load and unload, as KServe answers them.
	OIPChanged struct {
		Name   string `json:"name"`
		Load   bool   `json:"load,omitzero"`
		Unload bool   `json:"unload,omitzero"`
	}
)

// NewOIPServer returns the reply of GET /v2.
func NewOIPServer(version string) OIPServer {
	return OIPServer{"warmserve", version, []string{"model_repository", "binary_tensor_data"}}
}

// NewOIPModel describes a model of some revisions, the live one first. The
// inputs are alternatives: TEXT, or PROMPT with RESPONSE, or tokens with
// sequence_lengths.
func NewOIPModel(name string, revisions []string, ensemble bool) OIPModel {
	m := OIPModel{
		Name: name, Platform: "warmserve",
		Inputs: []OIPTensor{
			{"TEXT", "BYTES", []int{-1}}, {"PROMPT", "BYTES", []int{-1}}, {"RESPONSE", "BYTES", []int{-1}},
			{"tokens", "INT64", []int{-1, -1}}, {"sequence_lengths", "INT64", []int{-1}},
		},
		Outputs: []OIPTensor{{"rewards", "FP32", []int{-1, 1}}},
	}
	for _, r := range revisions {
		m.Versions = append(m.Versions, Version(r))
	}
	if ensemble {
		m.Outputs = append(m.Outputs, OIPTensor{"std", "FP32", []int{-1, 1}})
	}
	return m
}

// DecodeIndex reads the body of POST /v2/repository/index: whether only models
// that are ready are asked for. It may be empty.
func DecodeIndex(body []byte) (ready bool, err error) {
	var r struct {
		Ready bool `json:"ready"`
	}
	if len(body) == 0 {
		return false, nil
	}
	err = api.DecodeLenient(body, &r)
	return r.Ready, err
}

// DecodeLoad reads the body of a repository's load: parameters with path, a
// checkpoint, or config, the JSON of PUT /v1/models/{name} as a string. It is
// nil for a body that names neither: what is live is loaded again.
func DecodeLoad(body []byte) (*api.ModelPatch, error) {
	var r struct {
		Parameters api.Fields `json:"parameters"`
	}
	if len(body) == 0 {
		return nil, nil
	}
	if err := api.DecodeLenient(body, &r); err != nil {
		return nil, err
	}
	var path, config string
	for _, f := range r.Parameters {
		var to *string
		switch f.Name {
		case "path":
			to = &path
		case "config":
			to = &config
		default:
			return nil, api.Errorf(api.CodeUnknownField, "parameters."+api.Clip(f.Name),
				"want path or config")
		}
		if err := read(f.Value, "parameters."+f.Name, to); err != nil {
			return nil, err
		}
	}
	switch {
	case path != "" && config != "":
		return nil, api.Errorf(api.CodeConflictingFields, "parameters.config", "path and config together")
	case path != "":
		return api.NewModelPatch(&api.ModelSpec{Members: []api.MemberSpec{{Path: path}}}), nil
	case config == "":
		return nil, nil
	}
	patch, err := api.DecodeModelPatch(jsontext.Value(config))
	if e, ok := err.(*api.Error); ok {
		return nil, e.Under("parameters.config")
	}
	return patch, err
}
