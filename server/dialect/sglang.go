package dialect

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// sglangRequest is SGLang's native body of /classify. Its model is left out, as
// SGLang does; where several are served, ?model names one.
type sglangRequest struct {
	Text     jsontext.Value `json:"text"`
	InputIDs jsontext.Value `json:"input_ids"`

	// Not carried out. What changes no answer (rid, priority, sampling_params,
	// log_metrics) is left out.
	Embeds     jsontext.Value `json:"input_embeds"`
	Image      jsontext.Value `json:"image_data"`
	Video      jsontext.Value `json:"video_data"`
	Audio      jsontext.Value `json:"audio_data"`
	Dimensions jsontext.Value `json:"dimensions"`
	LoRA       jsontext.Value `json:"lora_path"`
	Hidden     jsontext.Value `json:"return_pooled_hidden_states"`
	Cross      jsontext.Value `json:"is_cross_encoder_request"`
}

func (r *sglangRequest) refused() error {
	return refuseUnread(
		unread{"input_embeds", r.Embeds, nil, "embeddings are not read: send text or input_ids"},
		unread{"image_data", r.Image, []string{"[]"}, "images are not read"},
		unread{"video_data", r.Video, []string{"[]"}, "videos are not read"},
		unread{"audio_data", r.Audio, []string{"[]"}, "sounds are not read"},
		unread{"dimensions", r.Dimensions, []string{"1"}, "a reward has one dimension"},
		unread{"lora_path", r.LoRA, nil, "adapters are not chosen by requests: serve each as a model"},
		unread{"return_pooled_hidden_states", r.Hidden, []string{"false"}, "hidden states are not answered"},
		unread{"is_cross_encoder_request", r.Cross, []string{"false"},
			"pairs are read on /score and /rerank"},
	)
}

type sglangScored struct {
	Embedding []float32  `json:"embedding"`
	Meta      sglangMeta `json:"meta_info"`
}

type sglangMeta struct {
	ID           string `json:"id"`
	PromptTokens int    `json:"prompt_tokens"`
	Truncated    bool   `json:"truncated,omitzero"`
}

// sglangClassify answers a list for a list, and one object for one text.
func sglangClassify(r *sglangRequest, at Target) (*Call, error) {
	if err := r.refused(); err != nil {
		return nil, err
	}
	one, err := oneOf(named{"text", r.Text}, named{"input_ids", r.InputIDs})
	if err != nil {
		return nil, err
	}
	inputs, single, err := readTexts(one.value, one.name, true)
	if err != nil {
		return nil, err
	}
	if ids := inputs[0].InputIDs != nil; ids != (one.name == "input_ids") {
		return nil, api.Errorf(api.CodeInvalidValue, one.name,
			"want text for text, and token ids for input_ids")
	}
	c := &Call{
		Request: &api.RewardRequest{Inputs: inputs}, Wait: vllmWait, Shape: sglangShape,
		Param: under(one.name, single),
		Reply: func(res *Result) (any, error) {
			out := make([]any, len(res.Data))
			for i, d := range res.Data {
				if d.Error != nil {
					_, out[i] = sglangShape.Error(d.Error)
					continue
				}
				out[i] = sglangScored{[]float32{d.Reward},
					sglangMeta{strings.TrimPrefix(res.ID, "rwd-"), d.Tokens, d.Truncated}}
			}
			if single {
				return out[0], nil
			}
			return out, nil
		},
	}
	return c, c.choose(at.Query)
}
