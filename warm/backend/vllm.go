package backend

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// vllm speaks with a vLLM server that classifies (--runner pooling --convert classify).
// It takes other weights while it runs only in its development mode, and else is to be
// started on the folder.
//
// Source: vllm 0.32.0, entrypoints/pooling/classify, entrypoints/rl/online/api_router.py
// (/weight_info, /update_weight_version), entrypoints/serve/dev (/collective_rpc,
// /reset_prefix_cache), model_executor/model_loader/reload/inplace.py.
type vllm struct{ *client }

func (v *vllm) start(dir string) string {
	return "VLLM_SERVER_DEV_MODE=1 vllm serve " + dir + " --runner pooling --convert classify"
}

func (v *vllm) state(ctx context.Context) (state, error) {
	var list models
	if err := v.get(ctx, "/v1/models", &list); err != nil {
		return state{}, err
	}
	if len(list.Data) == 0 {
		return state{}, fmt.Errorf("%w: it lists no model", errReply)
	}
	out := state{path: list.Data[0].Root, longest: list.Data[0].Longest}
	version, err := v.version(ctx)
	if err != nil && statusOf(err) != http.StatusNotFound { // without the development mode
		return state{}, err
	}
	out.name = nameOf(version, out.path)
	return out, nil
}

func (v *vllm) version(ctx context.Context) (string, error) {
	var info struct {
		Version string `json:"weight_version"`
	}
	err := v.get(ctx, "/weight_info", &info)
	return info.Version, err
}

func (v *vllm) rename(ctx context.Context, name string) error {
	return v.post(ctx, "/update_weight_version", map[string]string{"new_version": name}, nil)
}

// load implements wire. A load that fails may end the engine at the next request: its
// layers are without memory then. So the version goes first, and nothing is scored before
// another load was a success.
func (v *vllm) load(ctx context.Context, dir, name string) error {
	if err := v.rename(ctx, loadingName(name)); statusOf(err) == http.StatusNotFound {
		return fmt.Errorf("%w unless it was started with VLLM_SERVER_DEV_MODE=1", errNoLoad)
	} else if err != nil {
		return fmt.Errorf("renaming its weights: %w", err)
	}
	if err := v.post(ctx, "/collective_rpc", map[string]any{"method": "reload_weights",
		"kwargs": map[string]string{"weights_path": dir}}, nil); err != nil {
		return err
	}
	// What was computed with the old weights must answer nobody any more.
	const attempts = 5
	for i := 0; ; i++ {
		var said struct {
			Success bool `json:"success"`
		}
		if err := v.post(ctx, "/reset_prefix_cache", nil, &said); err != nil {
			return fmt.Errorf("emptying its cache: %w", err)
		}
		if said.Success {
			break
		}
		if i == attempts {
			return fmt.Errorf("%w: its cache was not emptied: others use the engine as well", errReply)
		}
		select {
		case <-time.After(time.Duration(i+1) * 100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return v.rename(ctx, name)
}

func (v *vllm) score(ctx context.Context, m *staged, items []item) ([][]float32, string, error) {
	var reply struct {
		Data []struct {
			Index int        `json:"index"`
			Probs []*float32 `json:"probs"` // of a model with use_activation false: outputs
		} `json:"data"`
	}
	if err := v.ask(ctx, "/classify", map[string]any{"input": idsOf(items), "use_activation": false, "add_special_tokens": false},
		&reply, replyLimit(m, items)); err != nil {
		return nil, "", err
	}
	if err := enough(len(reply.Data), items); err != nil {
		return nil, "", err
	}
	out := make([][]float32, len(items))
	for _, r := range reply.Data {
		if r.Index < 0 || r.Index >= len(out) || out[r.Index] != nil {
			return nil, "", fmt.Errorf("%w: two results, or none, for one sequence", errReply)
		}
		var err error
		if out[r.Index], err = outputsOf(m, r.Probs); err != nil {
			return nil, "", err
		}
	}
	// The reply does not say whose weights computed it.
	version, err := v.version(ctx)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return nil, "", err
	}
	if !strings.HasPrefix(version, namePrefix) {
		version = "" // started on our folder, or without the development mode
	}
	return out, version, nil
}
