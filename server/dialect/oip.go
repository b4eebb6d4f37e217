package dialect

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// inferRequest is the body of the Open Inference Protocol's infer.
type inferRequest struct {
	ID         string           `json:"id"`
	Parameters jsontext.Value   `json:"parameters"` // inferParameters
	Inputs     []inferInput     `json:"inputs"`
	Outputs    []inferRequested `json:"outputs"` // absent: all
}

// inferParameters are ours; the protocol leaves them to the server.
type inferParameters struct {
	Mode             string   `json:"mode"`
	Aggregate        string   `json:"aggregate"`
	Lambda           *float64 `json:"lambda"`
	Truncate         string   `json:"truncate"`
	AddSpecialTokens *bool    `json:"add_special_tokens"` // with TEXT
	Binary           bool     `json:"binary_data_output"` // of the outputs that do not say

	// Triton's clients send these on their own. They are about sequences of
	// requests and the order of a queue, and change no reward.
	SequenceID    jsontext.Value `json:"sequence_id"`
	SequenceStart jsontext.Value `json:"sequence_start"`
	SequenceEnd   jsontext.Value `json:"sequence_end"`
	Priority      jsontext.Value `json:"priority"`
	Timeout       jsontext.Value `json:"timeout"`
}

type inferInput struct {
	Name       string `json:"name"`
	Shape      []int  `json:"shape"`
	Datatype   string `json:"datatype"`
	Parameters struct {
		BinarySize *int `json:"binary_data_size"`
	} `json:"parameters"`
	Data jsontext.Value `json:"data"`
	raw  []byte         // in the place of Data, where there is a BinarySize
}

type inferRequested struct {
	Name       string `json:"name"`
	Parameters struct {
		Binary *bool `json:"binary_data"`
	} `json:"parameters"`
}

type inferReply struct {
	ModelName    string        `json:"model_name"`
	ModelVersion string        `json:"model_version"`
	ID           string        `json:"id,omitzero"`
	Outputs      []inferOutput `json:"outputs"`
}

type inferOutput struct {
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Datatype string `json:"datatype"`
	// Of a tensor in JSON the data, of one behind it how many bytes it takes.
	Data       []float32        `json:"data,omitzero"`
	Parameters *inferBinarySize `json:"parameters,omitzero"`
}

type inferBinarySize struct {
	Bytes int `json:"binary_data_size"`
}

// Version is a revision's name in the protocol: digits that say which weights
// answer, and that a client may send as a path's version.
func Version(revision string) string {
	const digits = 12
	v := strings.TrimPrefix(revision, "sha256:")
	return v[:min(len(v), digits)]
}

// infer is POST /v2/models/{name}[/versions/{version}]/infer: TEXT as it
// stands, PROMPT with RESPONSE, or tokens with sequence_lengths, which with
// sentences for TEXT are the names that NeMo-Aligner's reward server has.
func infer(body []byte, at Target) (*Call, error) {
	r, err := readInfer(body, at.Head)
	if err != nil {
		return nil, err
	}
	var p inferParameters
	if given(r.Parameters) {
		if err := api.DecodeStrict(r.Parameters, &p); err != nil {
			return nil, err.Under("parameters")
		}
	}
	inputs, name, err := r.inputs(p.AddSpecialTokens)
	if err != nil {
		return nil, err
	}
	for i, o := range r.Outputs {
		param := fmt.Sprintf("outputs[%d]", i)
		if o.Name != "rewards" && o.Name != "std" {
			return nil, api.Errorf(api.CodeInvalidValue, param+".name", "want rewards or std")
		}
		if slices.ContainsFunc(r.Outputs[:i], func(b inferRequested) bool { return b.Name == o.Name }) {
			return nil, api.Errorf(api.CodeConflictingFields, param+".name",
				"an output of this name is asked for twice")
		}
	}
	c := &Call{
		Request: &api.RewardRequest{
			Model: at.Model, Mode: p.Mode, Aggregate: p.Aggregate, Lambda: p.Lambda,
			Truncate: p.Truncate, Inputs: inputs,
		},
		Shape: oipShape, Param: under(name, false),
		Reply: func(res *Result) (any, error) { return r.reply(res, p.Binary) },
	}
	if at.Version != "" {
		c.Request.Model += "@" + at.Version
	}
	return c, c.choose(at.Query)
}

// inputs makes native inputs of the tensors; name is that of the first of them.
func (r *inferRequest) inputs(special *bool) (inputs []api.Input, name string, err error) {
	tensors := map[string]*inferInput{}
	for i := range r.Inputs {
		t := &r.Inputs[i]
		if tensors[t.Name] != nil {
			return nil, "", api.Errorf(api.CodeConflictingFields, fmt.Sprintf("inputs[%d].name", i),
				"a tensor of this name is given twice")
		}
		tensors[t.Name] = t
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if tensors[n] == nil {
				return false
			}
		}
		return len(tensors) == len(names)
	}
	switch {
	case has("TEXT"), has("sentences"):
		t := &r.Inputs[0]
		texts, err := t.strings()
		for i := range texts {
			inputs = append(inputs, api.Input{Text: &texts[i], AddSpecialTokens: special})
		}
		return inputs, t.Name, err
	case has("PROMPT", "RESPONSE"):
		inputs, err := promptsAndResponses(tensors["PROMPT"], tensors["RESPONSE"])
		return inputs, "PROMPT", err
	case has("tokens", "sequence_lengths"):
		inputs, err := tokenRows(tensors["tokens"], tensors["sequence_lengths"])
		return inputs, "tokens", err
	}
	return nil, "", api.Errorf(api.CodeInvalidValue, "inputs",
		"want the tensor TEXT, or PROMPT and RESPONSE, or tokens and sequence_lengths")
}

func promptsAndResponses(p, r *inferInput) ([]api.Input, error) {
	prompts, err := p.strings()
	if err != nil {
		return nil, err
	}
	responses, err := r.strings()
	if err != nil {
		return nil, err
	}
	if len(prompts) != len(responses) {
		return nil, api.Errorf(api.CodeInvalidValue, "RESPONSE", "%d responses for %d prompts",
			len(responses), len(prompts))
	}
	inputs := make([]api.Input, len(prompts))
	for i := range prompts {
		inputs[i] = api.Input{Prompt: &api.Prompt{Text: prompts[i]}, Response: &responses[i]}
	}
	return inputs, nil
}

// tokenRows takes the ids at the left of each padded row.
func tokenRows(tokens, lengths *inferInput) ([]api.Input, error) {
	ids, err := tokens.ints()
	if err != nil {
		return nil, err
	}
	n, err := lengths.ints()
	if err != nil {
		return nil, err
	}
	if lengths.raw != nil && len(n) > maxRows {
		return nil, tooManyRows(lengths.Name)
	}
	if len(tokens.Shape) != 2 || tokens.Shape[0] != len(n) {
		return nil, api.Errorf(api.CodeInvalidValue, "tokens",
			"shape %v for %d sequence_lengths, want [%d, most tokens]", tokens.Shape, len(n), len(n))
	}
	width := tokens.Shape[1]
	inputs := make([]api.Input, len(n))
	for i, length := range n {
		if length < 1 || int(length) > width {
			return nil, api.Errorf(api.CodeInvalidValue, fmt.Sprintf("sequence_lengths[%d]", i),
				"%d, want 1 to %d, the width of tokens", length, width)
		}
		inputs[i] = api.Tokens(ids[i*width : i*width+int(length)]...)
	}
	return inputs, nil
}

// size returns how many elements the shape has: [n] or [n, m].
func (t *inferInput) size(datatype ...string) (int, error) {
	if !slices.Contains(datatype, t.Datatype) {
		return 0, api.Errorf(api.CodeInvalidValue, t.Name, "want the datatype %s", datatype[0])
	}
	if len(t.Shape) < 1 || len(t.Shape) > 2 {
		return 0, api.Errorf(api.CodeInvalidValue, t.Name, "a shape of %d dimensions, want 1 or 2",
			len(t.Shape))
	}
	n := 1
	for _, d := range t.Shape {
		if d < 1 || d > maxElements/n {
			return 0, api.Errorf(api.CodeInvalidValue, t.Name,
				"shape %v, want 1 or more and at most %d elements", t.Shape, maxElements)
		}
		n *= d
	}
	return n, nil
}

// maxElements bounds a tensor; the server's own limits are below it.
const maxElements = 1 << 26

// strings reads a tensor of texts, one in each row.
func (t *inferInput) strings() ([]string, error) {
	n, err := t.size("BYTES")
	if err != nil {
		return nil, err
	}
	if n != t.Shape[0] {
		return nil, api.Errorf(api.CodeInvalidValue, t.Name, "shape %v, want [n] or [n, 1]", t.Shape)
	}
	if t.raw != nil {
		return t.rawStrings(n)
	}
	var out []string
	err = t.flat(n, '"', func(element jsontext.Token) bool {
		out = append(out, element.String())
		return true
	})
	return out, err
}

// ints reads a tensor of ids or lengths.
func (t *inferInput) ints() ([]int32, error) {
	n, err := t.size("INT64", "INT32")
	if err != nil {
		return nil, err
	}
	if t.raw != nil {
		return t.rawInts(n)
	}
	var out []int32
	err = t.flat(n, '0', func(element jsontext.Token) bool {
		v, err := element.Float()
		out = append(out, int32(v))
		return err == nil && v == float64(int32(v))
	})
	return out, err
}

// flat walks the data of n elements of a kind, which may be nested as the shape is or
// flat, and calls element at each.
func (t *inferInput) flat(n int, kind jsontext.Kind, element func(jsontext.Token) bool) error {
	wrong := api.Errorf(api.CodeInvalidValue, t.Name,
		"data: want a list of elements of the datatype %s", t.Datatype)
	if t.Data.Kind() != '[' {
		return wrong
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(t.Data))
	for depth, found := 0, 0; ; {
		token, err := dec.ReadToken()
		switch {
		case err != nil:
			return wrong
		case token.Kind() == '[':
			depth++
		case token.Kind() == ']':
			if depth--; depth > 0 {
				continue
			}
			if found != n {
				return api.Errorf(api.CodeInvalidValue, t.Name, "%d elements for the shape %v", found, t.Shape)
			}
			return nil
		case token.Kind() != kind || !element(token):
			return wrong
		default:
			found++
		}
	}
}

func (r *inferRequest) reply(res *Result, binary bool) (any, error) {
	n := len(res.Data)
	rewards := inferOutput{Name: "rewards", Shape: []int{n, 1}, Datatype: "FP32", Data: res.rewards()}
	std := inferOutput{Name: "std", Shape: []int{n, 1}, Datatype: "FP32", Data: make([]float32, n)}
	spread := true
	for i, d := range res.Data {
		if spread = spread && d.Std != nil; spread {
			std.Data[i] = *d.Std
		}
	}
	out := inferReply{ModelName: res.Model, ModelVersion: Version(res.Revision), ID: r.ID}
	if r.Outputs == nil {
		out.Outputs = append(out.Outputs, rewards)
		if spread {
			out.Outputs = append(out.Outputs, std)
		}
		return out.encode(func(int) bool { return binary })
	}
	for i, o := range r.Outputs {
		switch {
		case o.Name == "rewards":
			out.Outputs = append(out.Outputs, rewards)
		case spread:
			out.Outputs = append(out.Outputs, std)
		default:
			return nil, api.Errorf(api.CodeUnsupportedMode, fmt.Sprintf("outputs[%d]", i),
				"std is known in the modes ens and both alone, and %q answered", res.Mode)
		}
	}
	return out.encode(func(i int) bool {
		if asked := r.Outputs[i].Parameters.Binary; asked != nil {
			return *asked
		}
		return binary
	})
}
