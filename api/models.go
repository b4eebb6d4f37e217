package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ModelDetail describes the model called name, its loads and its history,
// whether it is live or not.
func (c *Client) ModelDetail(ctx context.Context, name string) (*ModelDetail, error) {
	return c.modelCall(ctx, c.call, http.MethodGet, modelPath(name, ""), nil)
}

// PutModel loads a model and makes it live under name, for which the client
// needs an administrator's key. With wait it returns when the model is live, or
// when ctx's deadline is near and the load goes on; else at once. The detail
// says which: it has no loads once they are done. Of a model that is there
// already the fields of spec that are zero stay as they are, but for those that
// reset names, in the words of the wire ("guard"), which get their defaults.
func (c *Client) PutModel(ctx context.Context, name string, spec *ModelSpec, wait bool,
	reset ...string) (*ModelDetail, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("api: encode request: %w", err)
	}
	if len(reset) > 0 {
		if body, err = withNulls(body, reset); err != nil {
			return nil, fmt.Errorf("api: encode request: %w", err)
		}
	}
	return c.modelCall(ctx, c.call, http.MethodPut, modelPath(name, waiting(wait)), body)
}

// withNulls sets fields of an object to null.
func withNulls(object []byte, names []string) ([]byte, error) {
	fields := map[string]jsontext.Value{}
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}
	for _, name := range names {
		fields[name] = jsontext.Value("null")
	}
	return json.Marshal(fields, json.Deterministic(true))
}

// RollbackModel makes the revision before the live one live again. Wait is as
// in PutModel. It asks once: a second time would go back further.
func (c *Client) RollbackModel(ctx context.Context, name string, wait bool) (*ModelDetail, error) {
	once := func(ctx context.Context, method, path string, body []byte, out any) error {
		return c.once(ctx, method, path, payload{bytes: body}, out)
	}
	return c.modelCall(ctx, once, http.MethodPost, modelPath(name, "/rollback"+waiting(wait)), nil)
}

// DeleteModel takes a model out of service.
func (c *Client) DeleteModel(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, modelPath(name, ""), nil, new(Deleted))
}

func (c *Client) modelCall(ctx context.Context,
	call func(context.Context, string, string, []byte, any) error, method, path string,
	body []byte) (*ModelDetail, error) {
	d := new(ModelDetail)
	if err := call(ctx, method, path, body, d); err != nil {
		return nil, err
	}
	if d.Model != nil { // written once, read as the fields of both
		d.Model.ID, d.Model.Object = d.ID, d.Object
	}
	return d, nil
}

func modelPath(name, rest string) string { return "/v1/models/" + url.PathEscape(name) + rest }

func waiting(wait bool) string {
	if wait {
		return "?wait=true"
	}
	return ""
}
