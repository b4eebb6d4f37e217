package backend

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// sglang speaks with an SGLang server. It must serve the class of the model as a
// classifier, as it does of a …ForSequenceClassification.
//
// Source: sglang 0.5.23, srt/entrypoints/http_server.py (/classify, /model_info,
// /update_weights_from_disk, /update_weight_version), srt/managers/io_struct.py.
type sglang struct{ *client }

func (s *sglang) start(dir string) string {
	return "python -m sglang.launch_server --is-embedding --model-path " + dir
}

func (s *sglang) state(ctx context.Context) (state, error) {
	var info struct {
		Path    string   `json:"model_path"`
		Version string   `json:"weight_version"`
		Classes []string `json:"architectures"`
	}
	if err := s.get(ctx, "/model_info", &info); err != nil {
		return state{}, err
	}
	out := state{name: nameOf(info.Version, info.Path), path: info.Path}
	if len(info.Classes) == 1 {
		out.class = info.Classes[0]
	}
	var list models
	if err := s.get(ctx, "/v1/models", &list); err != nil {
		return state{}, err
	}
	if len(list.Data) > 0 && list.Data[0].Longest > sglangReserve {
		out.longest = list.Data[0].Longest - sglangReserve
	}
	return out, nil
}

// sglangReserve is how many tokens of its context SGLang leaves no sequence: one below
// the context, five in reserve, and what it takes must be below that (max_req_input_len).
const sglangReserve = 7

// models is the list of OpenAI's API, in the fields that SGLang and vLLM add.
type models struct {
	Data []struct {
		Root    string `json:"root"`
		Longest int    `json:"max_model_len"`
	} `json:"data"`
}

// nameOf is the name of the weights that an engine serves: the version that we gave them,
// else the folder that it was started on.
func nameOf(version, dir string) string {
	if strings.HasPrefix(version, namePrefix) {
		return version
	}
	return path.Base(strings.TrimRight(dir, "/"))
}

// load implements wire. A load that fails midway leaves weights that are neither the old
// nor the new (what rolls back reads the new folder once more), under the old version: so
// the version goes first.
func (s *sglang) load(ctx context.Context, dir, name string) error {
	if err := s.post(ctx, "/update_weight_version", map[string]any{"new_version": loadingName(name), "abort_all_requests": false}, nil); err != nil {
		return fmt.Errorf("renaming its weights: %w", err)
	}
	var said struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}
	err := s.post(ctx, "/update_weights_from_disk",
		map[string]any{"model_path": dir, "weight_version": name, "flush_cache": true}, &said)
	if err == nil && !said.Success {
		err = fmt.Errorf("%w: %s", errReply, words([]byte(said.Message)))
	}
	return err
}

// classified is the reply of /classify, of each sequence.
type classified struct {
	Embedding []*float32 `json:"embedding"` // null is a NaN
	Meta      struct {
		Version string `json:"weight_version"`
	} `json:"meta_info"`
}

func (s *sglang) score(ctx context.Context, m *staged, items []item) ([][]float32, string, error) {
	var reply []classified
	if err := s.ask(ctx, "/classify", map[string]any{"input_ids": idsOf(items)}, &reply, replyLimit(m, items)); err != nil {
		return nil, "", err
	}
	if err := enough(len(reply), items); err != nil {
		return nil, "", err
	}
	out := make([][]float32, len(items))
	for i, r := range reply {
		var err error
		if out[i], err = outputsOf(m, r.Embedding); err != nil {
			return nil, "", err
		}
		if v, first := r.Meta.Version, reply[0].Meta.Version; v != first {
			return nil, "", fmt.Errorf("%w: weights %q and %q in one reply", errReply, first, v)
		}
	}
	if len(reply) == 0 || !strings.HasPrefix(reply[0].Meta.Version, namePrefix) {
		return out, "", nil // started on our folder, or too old to say
	}
	return out, reply[0].Meta.Version, nil
}
