package model

import "fmt"

// Pooling is the rule that picks the token whose hidden state is scored. The
// rules in the wild differ when the padding token occurs in the text, as it does
// when a model pads with its end-of-text token.
type Pooling string

const (
	// PoolHF is the last token that is not the padding token: transformers
	// since 4.49 (GenericForSequenceClassification). The first token if all are
	// padding; the last if the configuration has no padding token.
	PoolHF Pooling = "hf"
	// PoolLast is the last token, whatever it is: OpenRLHF, vLLM, SGLang.
	PoolLast Pooling = "last"
	// PoolHFLegacy is the token before the first padding token, the last one
	// when there is none or it comes first: transformers up to 4.48.
	PoolHFLegacy Pooling = "hf_legacy"
	// PoolPrompt is the token before the first padding token after the prompt:
	// TRL's get_reward, summarize_from_feedback.
	PoolPrompt Pooling = "first_pad_after_prompt"
)

// ParsePooling reads the name of a rule; "" is PoolHF.
func ParsePooling(s string) (Pooling, error) {
	switch p := Pooling(s); p {
	case "":
		return PoolHF, nil
	case PoolHF, PoolLast, PoolHFLegacy, PoolPrompt:
		return p, nil
	}
	return "", fmt.Errorf("model: unknown pooling rule %q, want hf, last, hf_legacy or first_pad_after_prompt", s)
}

// At returns the index of the scored token of ids, which are not empty. A nil
// pad means that the model has no padding token. prompt is the number of prompt
// tokens, which PoolPrompt alone reads.
func (p Pooling) At(ids []int32, pad *int32, prompt int) int {
	last := len(ids) - 1
	if pad == nil || p == PoolLast {
		return last
	}
	switch p {
	case PoolHFLegacy:
		for i, id := range ids {
			if id == *pad {
				return (i - 1 + len(ids)) % len(ids)
			}
		}
	case PoolPrompt:
		for i := prompt; i < len(ids); i++ {
			if ids[i] == *pad {
				return max(i-1, 0)
			}
		}
	default:
		for i := last; i > 0; i-- {
			if ids[i] != *pad {
				return i
			}
		}
		return 0
	}
	return last
}
