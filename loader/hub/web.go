package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
)

// webOrigin is the address of a folder on a web server. Such a server lists no
// folder, so that files are asked for by the names that they have in checkpoints.
type webOrigin string

// known are the names of files that a checkpoint may have; those of shards stand in an index.
var known = []string{
	"config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"chat_template.jinja", "tokenizer.model", "generation_config.json",
	"model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin",
	"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin",
	"value_head.safetensors", "value_head.bin", "regression_layer.safetensors", "regression_layer.pt",
	"gating_layer.safetensors", "gating_layer.pt", "warm_average.json",
	"modules.json", "1_Pooling/config.json",
}

// indexes name the files of weights that are in several.
var indexes = []string{"model.safetensors.index.json", "pytorch_model.safetensors.index.json", "pytorch_model.bin.index.json"}

// list implements origin.
func (o webOrigin) list(ctx context.Context) (string, map[string]file, error) {
	files := map[string]file{}
	for _, name := range slices.Concat(known, indexes) {
		if err := o.look(ctx, name, files); err != nil {
			return "", nil, err
		}
	}
	for _, index := range indexes {
		if _, ok := files[index]; !ok {
			continue
		}
		shards, err := o.shards(ctx, index)
		if err != nil {
			return "", nil, err
		}
		for _, name := range shards {
			if err := o.look(ctx, name, files); err != nil {
				return "", nil, err
			}
		}
	}
	if len(files) == 0 {
		return "", nil, fmt.Errorf("%w: %s has no file of a checkpoint", ErrNotFound, string(o))
	}
	return identity(files), files, nil
}

// look adds a file that is there.
func (o webOrigin) look(ctx context.Context, name string, files map[string]file) error {
	reply, _, err := get(ctx, http.MethodHead, string(o)+"/"+name, 0, nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	defer reply.Body.Close()
	tag := webTag(reply, name)
	if tag == "" || reply.ContentLength < 0 {
		return fmt.Errorf("%s/%s: the server names neither a version (ETag or Last-Modified) nor a length: download it by hand", string(o), name)
	}
	files[name] = file{Size: reply.ContentLength, Tag: tag}
	return nil
}

// shards returns the files that an index names.
func (o webOrigin) shards(ctx context.Context, index string) ([]string, error) {
	reply, _, err := get(ctx, http.MethodGet, string(o)+"/"+index, 0, nil)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, maxListing))
	if err != nil {
		return nil, err
	}
	var list struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", string(o), index, err)
	}
	out := slices.DeleteFunc(slices.Compact(slices.Sorted(maps.Values(list.Map))), func(name string) bool {
		ext := path.Ext(name)
		return !plain.MatchString(name) || ext != ".safetensors" && ext != ".bin"
	})
	if len(out) > maxShards {
		return nil, fmt.Errorf("%s/%s names %d files, at most %d are asked for", string(o), index,
			len(out), maxShards)
	}
	return out, nil
}

// maxShards bounds the files that an index may name: each is a request.
const maxShards = 1000

// open implements origin.
func (o webOrigin) open(ctx context.Context, _, name string, f file, from int64) (*content, error) {
	reply, begin, err := get(ctx, http.MethodGet, string(o)+"/"+name, from, nil)
	if err != nil {
		return nil, err
	}
	if webTag(reply, name) != f.Tag {
		return nil, errors.Join(errAnew, reply.Body.Close())
	}
	return &content{ReadCloser: reply.Body, begin: begin}, nil
}

// webTag names the version of a file that a server answers with; "" when it names none.
func webTag(reply *http.Response, name string) string {
	if v := version(reply); v != "" {
		return "web " + v + " " + name
	}
	return ""
}

// version is what a server names what it sends by; "" when it names nothing.
func version(reply *http.Response) string {
	return cmp.Or(reply.Header.Get("ETag"), reply.Header.Get("Last-Modified"))
}
