package dialect

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// vllmWait is long: verl has no timeout of its own and gives up after 16
// refusals, thirty seconds apart at most.
var vllmWait = hold(300 * time.Second)

// vllm is the routes of vLLM's pooling models.
type vllm struct{ activation bool }

// vllmOptions are the fields that several routes share.
type vllmOptions struct {
	Model                string         `json:"model"`
	TruncatePromptTokens *int           `json:"truncate_prompt_tokens"` // -1 is the context
	TruncationSide       string         `json:"truncation_side"`
	UseActivation        *bool          `json:"use_activation"`
	Activation           *bool          `json:"activation"` // earlier names of use_activation
	Softmax              *bool          `json:"softmax"`
	Normalize            jsontext.Value `json:"normalize"` // removed by vLLM, which refuses it, too
	EncodingFormat       string         `json:"encoding_format"`

	// Not carried out, see refused.
	Dimensions   jsontext.Value `json:"dimensions"`
	EmbedDType   jsontext.Value `json:"embed_dtype"`
	Endianness   jsontext.Value `json:"endianness"`
	TokensPerDoc jsontext.Value `json:"max_tokens_per_doc"`
	ChunksPerDoc jsontext.Value `json:"max_chunks_per_doc"`
	RankFields   jsontext.Value `json:"rank_fields"`
	Multimodal   jsontext.Value `json:"mm_processor_kwargs"`
	Instruction  jsontext.Value `json:"instruction"`
}

// refused refuses the fields of vLLM's and Cohere's protocols that would change
// an answer and are not carried out. Those that would not (user, request_id,
// cache_salt, priority) are left out.
func (o *vllmOptions) refused() error {
	return refuseUnread(
		unread{"normalize", o.Normalize, nil,
			"normalize is not supported any more, use use_activation instead"},
		unread{"dimensions", o.Dimensions, []string{"1"}, "a reward has one dimension"},
		unread{"embed_dtype", o.EmbedDType, []string{`"float32"`}, "rewards are float32"},
		unread{"endianness", o.Endianness, []string{`"native"`, `"little"`},
			"base64 is of little-endian floats"},
		unread{"max_tokens_per_doc", o.TokensPerDoc, []string{"0"},
			"an answer is not cut for itself: use truncate_prompt_tokens, the length of prompt and answer together"},
		unread{"max_chunks_per_doc", o.ChunksPerDoc, nil, "an answer is scored whole, not in chunks"},
		unread{"rank_fields", o.RankFields, []string{"[]"}, "documents are texts"},
		unread{"mm_processor_kwargs", o.Multimodal, []string{"{}"}, "images are not read"},
		unread{"instruction", o.Instruction, nil,
			"the prompt is the query alone: write the instruction into it"},
	)
}

// vllmTexts is the body of /classify, /pooling and /v1/embeddings: input, or messages.
type vllmTexts struct {
	vllmOptions
	Input                jsontext.Value `json:"input"`
	Messages             []api.Message  `json:"messages"`
	AddSpecialTokens     *bool          `json:"add_special_tokens"` // absent: true for input, false for messages
	AddGenerationPrompt  bool           `json:"add_generation_prompt"`
	ContinueFinalMessage bool           `json:"continue_final_message"`
	ChatTemplate         jsontext.Value `json:"chat_template"`
	ChatTemplateKwargs   api.Fields     `json:"chat_template_kwargs"`
	Tools                jsontext.Value `json:"tools"`     // variables of the template,
	Documents            jsontext.Value `json:"documents"` // as transformers passes them
	Task                 string         `json:"task"`      // of /pooling
}

// vllmUsage has what OpenAI's usage has for a model that generates nothing.
type vllmUsage struct {
	PromptTokens        int            `json:"prompt_tokens"`
	TotalTokens         int            `json:"total_tokens"`
	CompletionTokens    int            `json:"completion_tokens"`
	PromptTokensDetails jsontext.Value `json:"prompt_tokens_details"` // always null
}

func usageOf(res *Result) vllmUsage {
	return vllmUsage{PromptTokens: res.Usage.PromptTokens, TotalTokens: res.Usage.TotalTokens,
		PromptTokensDetails: jsontext.Value("null")}
}

// vllmList is the reply of every route but the rerank ones.
type vllmList struct {
	ID      string    `json:"id,omitzero"`
	Object  string    `json:"object"`
	Created int64     `json:"created,omitzero"`
	Model   string    `json:"model"`
	Data    any       `json:"data"`
	Usage   vllmUsage `json:"usage"`
}

// vllmRefused is in the place of an answer that was refused alone.
type vllmRefused struct {
	Index int        `json:"index"`
	Error vllmFields `json:"error"`
}

func refusedOf(d *api.Reward) vllmRefused {
	_, fields := vllmError(d.Error)
	return vllmRefused{d.Index, fields}
}

// list makes a reply of one entry for each answer.
func list(res *Result, id string, entry func(d *api.Reward) any) vllmList {
	data := make([]any, len(res.Data))
	for i := range res.Data {
		if d := &res.Data[i]; d.Error != nil {
			data[i] = refusedOf(d)
		} else {
			data[i] = entry(d)
		}
	}
	return vllmList{
		ID: id + strings.TrimPrefix(res.ID, "rwd-"), Object: "list", Created: res.Created, Model: res.Model,
		Data: data, Usage: usageOf(res),
	}
}

type vllmClass struct {
	Index      int       `json:"index"`
	Label      *string   `json:"label"`
	Probs      []float32 `json:"probs"`
	NumClasses int       `json:"num_classes"`
	Truncated  bool      `json:"truncated,omitzero"`
}

func (v vllm) classify(body []byte, at Target) (*Call, error) {
	return v.texts(body, at, func(res *Result, r *vllmTexts, score func(float32) float32) any {
		var label *string
		if res.Label != "" {
			label = &res.Label
		}
		return list(res, "classify-", func(d *api.Reward) any {
			return vllmClass{d.Index, label, []float32{score(d.Reward)}, 1, d.Truncated}
		})
	})
}

type vllmPooled struct {
	Index     int    `json:"index"`
	Object    string `json:"object"`
	Data      any    `json:"data"`
	Truncated bool   `json:"truncated,omitzero"`
}

func (v vllm) pooling(body []byte, at Target) (*Call, error) {
	return v.texts(body, at, func(res *Result, r *vllmTexts, score func(float32) float32) any {
		return list(res, "pool-", func(d *api.Reward) any {
			return vllmPooled{d.Index, "pooling", r.vector(score(d.Reward)), d.Truncated}
		})
	})
}

type vllmEmbedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
	Truncated bool   `json:"truncated,omitzero"`
}

// embeddings is what verl asks for when it believes to speak to SGLang.
func (v vllm) embeddings(body []byte, at Target) (*Call, error) {
	return v.texts(body, at, func(res *Result, r *vllmTexts, score func(float32) float32) any {
		out := list(res, "", func(d *api.Reward) any {
			return vllmEmbedding{"embedding", d.Index, r.vector(score(d.Reward)), d.Truncated}
		})
		out.ID, out.Created = "", 0
		return out
	})
}

// texts decodes the body that three routes share.
func (v vllm) texts(body []byte, at Target,
	reply func(*Result, *vllmTexts, func(float32) float32) any) (*Call, error) {
	r := new(vllmTexts)
	if err := api.DecodeLenient(body, r); err != nil {
		return nil, err
	}
	c := &Call{Request: &api.RewardRequest{Model: r.Model}, Wait: vllmWait, Shape: vllmShape}
	score, err := r.options(c, v.activation)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "classify", "score", "reward", "encode", "embed"}, r.Task) {
		return nil, api.Errorf(api.CodeInvalidValue, "task",
			"a reward model has one score for a text, and none for each token: want classify")
	}
	switch {
	case given(r.Input) && r.Messages != nil:
		return nil, api.Errorf(api.CodeConflictingFields, "messages", "input and messages together")
	case r.Messages != nil:
		if err := r.chat(c); err != nil {
			return nil, err
		}
	case given(r.Input) && (r.AddGenerationPrompt || r.ContinueFinalMessage ||
		given(r.ChatTemplate) || len(r.ChatTemplateKwargs) > 0 || given(r.Tools)):
		return nil, api.Errorf(api.CodeConflictingFields, "input",
			"input has its template already: add_generation_prompt, continue_final_message, chat_template, chat_template_kwargs and tools go with messages")
	case given(r.Input):
		special := r.AddSpecialTokens == nil || *r.AddSpecialTokens
		inputs, single, err := readTexts(r.Input, "input", special)
		if err != nil {
			return nil, err
		}
		c.Request.Inputs, c.Param = inputs, under("input", single)
	default:
		return nil, api.Errorf(api.CodeMissingField, "input", "input or messages is missing")
	}
	c.Reply = func(res *Result) (any, error) { return reply(res, r, score), nil }
	return c, c.choose(at.Query)
}

// chat reads the fields that go with messages.
func (r *vllmTexts) chat(c *Call) error {
	switch {
	case given(r.ChatTemplate):
		return api.Errorf(api.CodeInvalidValue, "chat_template",
			"templates are not taken from requests: the model's own is used")
	case r.AddGenerationPrompt && r.ContinueFinalMessage:
		return api.Errorf(api.CodeConflictingFields, "continue_final_message",
			"add_generation_prompt and continue_final_message together")
	}
	c.Request.Inputs = []api.Input{api.Conversation(r.Messages...)}
	c.Param = places(func(_ int, rest string) string { return cmp.Or(rest, "messages") })
	c.Reading.AddSpecial = r.AddSpecialTokens != nil && *r.AddSpecialTokens
	c.Reading.AddGenerationPrompt, c.Reading.ContinueFinal = r.AddGenerationPrompt, r.ContinueFinalMessage
	c.Request.ChatTemplateKwargs = r.ChatTemplateKwargs
	for _, v := range []named{{"tools", r.Tools}, {"documents", r.Documents}} {
		if !given(v.value) {
			continue
		}
		if given(r.ChatTemplateKwargs.Get(v.name)) {
			return api.Errorf(api.CodeConflictingFields, v.name,
				"%s beside chat_template_kwargs.%s: say it in one place", v.name, v.name)
		}
		c.Request.ChatTemplateKwargs = append(c.Request.ChatTemplateKwargs,
			api.Field{Name: v.name, Value: v.value})
	}
	return nil
}

// options reads the shared fields into c and returns what scores are made of rewards.
func (o *vllmOptions) options(c *Call, activated bool) (score func(float32) float32, err error) {
	if err := o.refused(); err != nil {
		return nil, err
	}
	if o.EncodingFormat != "" && o.EncodingFormat != "float" && o.EncodingFormat != "base64" {
		return nil, api.Errorf(api.CodeInvalidValue, "encoding_format", "want float or base64")
	}
	switch o.TruncationSide {
	case "":
	case "left":
		c.Request.Truncate = api.TruncateLeft
	case "right":
		c.Request.Truncate = api.TruncateRight
	default:
		return nil, api.Errorf(api.CodeInvalidValue, "truncation_side", "want left or right")
	}
	if n := o.TruncatePromptTokens; n != nil && *n != -1 {
		if *n < 1 {
			return nil, api.Errorf(api.CodeInvalidValue, "truncate_prompt_tokens",
				"%d, want 1 or more, or -1 for the model's context", *n)
		}
		c.Reading.MaxTokens = *n
	}
	for _, choice := range []*bool{o.UseActivation, o.Activation, o.Softmax} {
		if choice != nil {
			activated = *choice
			break
		}
	}
	return activation(activated), nil
}

// vector is the one number of an answer in the encoding asked for.
func (o *vllmOptions) vector(score float32) any {
	if o.EncodingFormat == "base64" {
		return encode64([]float32{score})
	}
	return []float32{score}
}
