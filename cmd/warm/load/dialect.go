package load

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// group is one prompt with its answers, as text or as ids.
type group struct {
	prompt  string
	answers []string
	ids     [][]int32 // prompt and answer together; nil when text is sent
}

// dialect is how one stack asks for rewards.
type dialect struct {
	path  string
	ids   bool // whether it can send token ids
	says  bool // whether its client says how long it waits, in X-Request-Timeout
	body  func(model string, g group) any
	count func(reply []byte, h http.Header) (outcome, error)
}

// outcome is what a reply holds.
type outcome struct {
	answers int
	tokens  int // 0 when the server does not say
}

// Dialects lists the stacks that can be imitated.
func Dialects() []string { return []string{"reward", "openrlhf", "classify", "predict"} }

// dialects holds each stack's request as it sends it.
var dialects = map[string]dialect{
	"reward":   {"/v1/reward", true, true, rewardBody, countReward},
	"openrlhf": {"/get_reward", false, false, openRLHFBody, countOpenRLHF},
	"classify": {"/classify", true, false, classifyBody, countClassify},
	"predict":  {"/predict", false, false, predictBody, countPredict},
}

// whole returns prompt and answer as one text, for stacks that send no two.
func (g group) whole() []string {
	out := make([]string, len(g.answers))
	for i, a := range g.answers {
		out[i] = strings.TrimSpace(g.prompt + " " + a)
	}
	return out
}

func rewardBody(model string, g group) any {
	type input struct {
		Prompt    *string  `json:"prompt,omitempty"`
		Response  *string  `json:"response,omitempty"`
		Responses []string `json:"responses,omitempty"`
		IDs       []int32  `json:"input_ids,omitempty"`
	}
	var inputs []input
	switch {
	case g.ids != nil:
		for _, ids := range g.ids {
			inputs = append(inputs, input{IDs: ids})
		}
	case len(g.answers) == 1:
		inputs = []input{{Prompt: &g.prompt, Response: &g.answers[0]}}
	default:
		inputs = []input{{Prompt: &g.prompt, Responses: g.answers}}
	}
	return struct {
		Model  string  `json:"model,omitempty"`
		Inputs []input `json:"inputs"`
	}{model, inputs}
}

// openRLHFBody is what OpenRLHF's SingleTurnAgentExecutor posts.
func openRLHFBody(_ string, g group) any {
	n := len(g.answers)
	return map[string]any{"query": g.whole(), "prompts": slices.Repeat([]string{g.prompt}, n), "labels": make([]any, n)}
}

// classifyBody is what verl posts to vLLM, one sample as a string.
func classifyBody(model string, g group) any {
	var input any = g.ids
	if g.ids == nil {
		texts := g.whole()
		if input = texts; len(texts) == 1 {
			input = texts[0]
		}
	}
	body := map[string]any{"input": input, "use_activation": false}
	if model != "" {
		body["model"] = model
	}
	return body
}

// predictBody is text-embeddings-inference's; in a list each text is a list of one.
func predictBody(_ string, g group) any {
	texts := g.whole()
	var inputs any = texts[0]
	if len(texts) > 1 {
		var list [][]string
		for _, t := range texts {
			list = append(list, []string{t})
		}
		inputs = list
	}
	return map[string]any{"inputs": inputs, "raw_scores": true, "truncate": true}
}

func countReward(reply []byte, _ http.Header) (outcome, error) {
	var r struct {
		Data []struct {
			Reward *float64 `json:"reward"`
		} `json:"data"`
		Usage struct {
			Total int `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(reply, &r); err != nil {
		return outcome{}, err
	}
	for i, d := range r.Data {
		if d.Reward == nil {
			return outcome{}, fmt.Errorf("data[%d] has no reward", i)
		}
	}
	return outcome{len(r.Data), r.Usage.Total}, nil
}

func countOpenRLHF(reply []byte, _ http.Header) (outcome, error) {
	var r struct {
		Rewards []*float64 `json:"rewards"`
		Logs    struct {
			Tokens []float64 `json:"reward_tokens"`
		} `json:"extra_logs"`
	}
	if err := json.Unmarshal(reply, &r); err != nil {
		return outcome{}, err
	}
	out := outcome{answers: len(r.Rewards)}
	for i, v := range r.Rewards {
		if v == nil {
			return out, fmt.Errorf("rewards[%d] is null", i)
		}
	}
	for _, n := range r.Logs.Tokens {
		if n > 0 && n < math.MaxInt32 {
			out.tokens += int(n)
		}
	}
	return out, nil
}

func countClassify(reply []byte, _ http.Header) (outcome, error) {
	var r struct {
		Data []struct {
			Probs []float64 `json:"probs"`
		} `json:"data"`
		Usage struct {
			Prompt int `json:"prompt_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(reply, &r); err != nil {
		return outcome{}, err
	}
	for i, d := range r.Data {
		if len(d.Probs) == 0 {
			return outcome{}, fmt.Errorf("data[%d] has no probs", i)
		}
	}
	return outcome{len(r.Data), r.Usage.Prompt}, nil
}

func countPredict(reply []byte, h http.Header) (outcome, error) {
	type label struct {
		Score *float64 `json:"score"`
	}
	var many [][]label
	if json.Unmarshal(reply, &many) != nil {
		var one []label
		if err := json.Unmarshal(reply, &one); err != nil {
			return outcome{}, err
		}
		many = [][]label{one}
	}
	for i, labels := range many {
		if len(labels) == 0 || labels[0].Score == nil {
			return outcome{}, fmt.Errorf("entry %d has no score", i)
		}
	}
	tokens, _ := strconv.Atoi(h.Get("X-Compute-Tokens")) // 0 without the header, which is the server's choice
	return outcome{len(many), tokens}, nil
}

// NamesModel says whether a dialect's requests have a place for the model's name.
func NamesModel(dialect string) bool { return dialect != "openrlhf" && dialect != "predict" }
