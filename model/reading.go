package model

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Ending says how the text of a conversation, or of a prompt and a response, ends
// before it becomes tokens. A finished text, and token ids, are never changed.
type Ending string

const (
	// EndAsIs leaves the end to the chat template and the tokenizer.
	EndAsIs Ending = "as-is"
	// EndEOS puts the end-of-text token behind a text that does not end with it, as
	// TRL does with texts without a template.
	EndEOS Ending = "eos"
	// EndOpenRLHF drops newlines at the end, puts a space and the end-of-text token
	// behind a text that then does not end with it, and has the tokenizer add none of
	// its own special tokens: what OpenRLHF's reward models are trained on.
	EndOpenRLHF Ending = "openrlhf"
)

// ParseEnding reads the name of an ending; "" is EndAsIs.
func ParseEnding(s string) (Ending, error) {
	switch e := Ending(s); e {
	case "":
		return EndAsIs, nil
	case EndAsIs, EndEOS, EndOpenRLHF:
		return e, nil
	}
	return "", fmt.Errorf("model: unknown ending %q, want as-is, eos or openrlhf", s)
}

// Reading says how text becomes tokens, and which of them is scored, where a class
// of models has a way of its own. A zero field leaves it to the rest of the
// checkpoint.
type Reading struct {
	Pooling Pooling
	Ending  Ending
	// DoubleBOS is that a template's text gets the tokenizer's special tokens too,
	// and a second BOS stays.
	DoubleBOS bool
}

const (
	// athene reads at <|reserved_special_token_1|> of Llama 3, which its pipeline
	// puts behind every text.
	athene Pooling = "append:128003"
	// armoRM reads its gate where Llama 3's template opens the last answer:
	// <|eot_id|><|start_header_id|>assistant<|end_header_id|> and a blank line.
	armoRM Pooling = "hf_legacy+pattern:128009,128006,78191,128007,271"
	// skyworkPRM reads at the newline that stands behind every line of an answer.
	skyworkPRM Pooling = "lines:198"
	// qwenPRM reads at <extra_0>, which stands behind every step.
	qwenPRM Pooling = "every:151651"
)

// readings are what classes of public reward models have in their own code.
var readings = map[string]Reading{
	"RewardModel":                              {Pooling: PoolLast, Ending: EndOpenRLHF}, // OpenRLHF
	"AtheneForSequenceClassification":          {Pooling: athene, DoubleBOS: true},
	"CustomAutoModelForSequenceClassification": {Pooling: athene, DoubleBOS: true}, // what Athene's file says
	"LlamaForRewardModelWithGating":            {Pooling: armoRM},                  // and QRM
	"INFORMForSequenceClassification":          {Pooling: PoolHFLegacy},
	"LDLRewardModel27B":                        {Pooling: PoolHFLegacy},
	"GPTNeoXRewardModel":                       {Pooling: PoolLast}, // Open-Assistant
	"EurusRewardModel":                         {Pooling: PoolLast},
	"LlamaRewardModel":                         {Pooling: PoolLast}, // UltraRM
	"LlamaForScore":                            {Pooling: PoolLast}, // beaver
	"Qwen2ForRewardModel":                      {Pooling: PoolLast},
	"Qwen2ForProcessRewardModel":               {Pooling: qwenPRM},
	"Qwen2ForPrmModel":                         {Pooling: skyworkPRM},
}

// lastTokenSuffixes end the names of classes that are no reward models by themselves:
// with a value head, TRL, LLaMA-Factory and GRM read them at the last token, and verl
// those that classify tokens.
var lastTokenSuffixes = []string{"ForCausalLM", "LMHeadModel", "ForConditionalGeneration",
	"ForTokenClassification"}

// reading is what the class that config.json names, its other keys and the
// tensors' names tell of how a text is read. src is nil where tensors are not there.
func (raw *rawConfig) reading(src Source) (Reading, error) {
	class := ""
	if len(raw.Architectures) > 0 {
		class = raw.Architectures[0]
	}
	has := func(tensor string) bool {
		if src == nil {
			return false
		}
		_, ok := src.Shape(tensor)
		return ok
	}
	r, known := readings[class]
	switch {
	case raw.RewardToken != nil: // InternLM2
		if *raw.RewardToken < 0 {
			return r, fmt.Errorf("config.json: reward_token_id: %d, want a token id", *raw.RewardToken)
		}
		r.Pooling = Pooling(fmt.Sprintf("append:%d", *raw.RewardToken))
	case class == "GPTNeoXRewardModel" && raw.Pooling != nil:
		switch *raw.Pooling {
		case "mean":
			r.Pooling = PoolMean
		case "last":
		default:
			return r, fmt.Errorf("config.json: pooling: %q, want last or mean", *raw.Pooling)
		}
	case known:
	case class == "LlamaForSequenceClassification" && has("v_head.weight") && has("transformer.embed_tokens.weight"): // Starling
		r.Pooling = "before:0" // the id in its code that ends a text
	case class == "LlamaForSequenceClassification" && has("weights.fc.0.weight"): // URM
		r.Pooling = PoolHFLegacy
	case slices.ContainsFunc(lastTokenSuffixes, func(s string) bool { return strings.HasSuffix(class, s) }):
		r.Pooling = PoolLast
	}
	return r, nil
}

// Read takes o for how text is read, where it says something, and completes it. It
// comes before [Config.Network]: the mean of all tokens is a matter of the network.
func (c *Config) Read(o Reading) error {
	o.Pooling = cmp.Or(o.Pooling, c.Reading.Pooling, PoolHF)
	o.Ending = cmp.Or(o.Ending, c.Reading.Ending, EndAsIs)
	o.DoubleBOS = o.DoubleBOS || c.Reading.DoubleBOS
	c.Reading = o
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if ids := o.Pooling.IDs(); len(ids) > 0 && int(slices.Max(ids)) >= c.VocabSize {
		bad("pooling %s: the model has the token ids 0 to %d: set pooling to its own, by --pooling, beside its members or under warmserve in config.json", o.Pooling, c.VocabSize-1)
	}
	switch mean := o.Pooling == PoolMean; {
	case c.NoPooler:
		c.Mean = mean
	case c.ModernBERT != nil && (mean || o.Pooling == PoolFirst):
		c.ModernBERT.Mean = mean
	case c.Causal():
		c.Mean = mean
	case mean:
		bad("pooling mean: %s scores its first token, from which its head is made", c.Architecture)
	}
	if o.Pooling.Many() && !c.Stepwise() {
		c.step(StepsMin)
	}
	if !c.Causal() && o.Ending != EndAsIs {
		bad("ending %s: the texts of %s, an encoder, end as its tokenizer has it", o.Ending, c.Architecture)
	}
	return errors.Join(errs...)
}
