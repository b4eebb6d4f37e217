package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pooling is the rule that says which token of a sequence a score head reads. It is
// a name, or a name and token ids, as in "token:128003". The rules in the wild
// differ when the padding token occurs in the text, as it does when a model pads
// with its end-of-text token; and some models are read at a token of their own.
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
	// PoolFirst is the first token.
	PoolFirst Pooling = "first"
	// PoolMean is no token but the mean of all, which a network computes that was
	// built to: see [Config.Averages].
	PoolMean Pooling = "mean"
)

// Names of the rules that have arguments.
const (
	poolToken  = "token"  // the last occurrence of an id
	poolAppend = "append" // the same, of an id that is put behind a sequence without it
	poolBefore = "before" // the token before the first occurrence of an id, as PoolHFLegacy has it of the padding token
	poolAt     = "at"     // a place counted from the end: at:-1 is the last token
)

// PoolingForms are the forms of rules, for people.
const PoolingForms = "hf, last, hf_legacy, first_pad_after_prompt, first, mean, token:ID, append:ID, before:ID or at:-N"

// PoolAppend is the rule that reads at id, which is put behind a sequence that does
// not have it.
func PoolAppend(id int32) Pooling { return Pooling(fmt.Sprintf("%s:%d", poolAppend, id)) }

// PoolBefore is the rule that reads at the token before the first id.
func PoolBefore(id int32) Pooling { return Pooling(fmt.Sprintf("%s:%d", poolBefore, id)) }

// ParsePooling reads a rule; "" is PoolHF.
func ParsePooling(s string) (Pooling, error) {
	if s == "" {
		return PoolHF, nil
	}
	name, arg, has := strings.Cut(s, ":")
	if !has {
		if slices.Contains([]Pooling{PoolHF, PoolLast, PoolHFLegacy, PoolPrompt, PoolFirst, PoolMean}, Pooling(s)) {
			return Pooling(s), nil
		}
		return "", fmt.Errorf("model: unknown pooling rule %q, want %s", s, PoolingForms)
	}
	n, err := strconv.ParseInt(arg, 10, 32)
	switch {
	case !slices.Contains([]string{poolToken, poolAppend, poolBefore, poolAt}, name):
		return "", fmt.Errorf("model: unknown pooling rule %q, want %s", s, PoolingForms)
	case name == poolAt && (err != nil || n >= 0):
		return "", fmt.Errorf("model: pooling rule %q: want a place from the end, such as at:-3", s)
	case name != poolAt && (err != nil || n < 0):
		return "", fmt.Errorf("model: pooling rule %q: want a token id, such as %s:128003", s, name)
	}
	return Pooling(fmt.Sprintf("%s:%d", name, n)), nil
}

// argument returns the name of a rule and its number, 0 for rules without.
func (p Pooling) argument() (name string, n int32) {
	name, arg, _ := strings.Cut(string(p), ":")
	v, _ := strconv.ParseInt(arg, 10, 32)
	return name, int32(v)
}

// Token returns the id of the token that is scored, false for rules that go by
// something else.
func (p Pooling) Token() (id int32, ok bool) {
	name, id := p.argument()
	return id, name == poolToken || name == poolAppend
}

// Appends returns the id that is put behind a sequence without it.
func (p Pooling) Appends() (id int32, ok bool) {
	name, id := p.argument()
	return id, name == poolAppend
}

// Names returns the id that the rule names, whatever it is for.
func (p Pooling) Names() (id int32, ok bool) {
	name, id := p.argument()
	return id, name == poolToken || name == poolAppend || name == poolBefore
}

// Padding says whether the rule goes by the end of the text and its padding alone,
// and not by a token of the model's own.
func (p Pooling) Padding() bool {
	return slices.Contains([]Pooling{PoolHF, PoolLast, PoolHFLegacy, PoolPrompt}, p)
}

// At returns the index of the scored token of ids, which are not empty, and -1
// where they lack the token that the rule wants. A nil pad means that the model has
// no padding token. prompt is the number of prompt tokens, which PoolPrompt alone
// reads.
func (p Pooling) At(ids []int32, pad *int32, prompt int) int {
	last := len(ids) - 1
	switch p = cmp.Or(p, PoolHF); p {
	case PoolLast, PoolMean:
		return last
	case PoolFirst:
		return 0
	case PoolHF, PoolHFLegacy, PoolPrompt:
		if pad == nil {
			return last
		}
	}
	switch p {
	case PoolHF:
		for last > 0 && ids[last] == *pad {
			last--
		}
		return last
	case PoolHFLegacy:
		return before(ids, *pad)
	case PoolPrompt:
		for i := prompt; i < len(ids); i++ {
			if ids[i] == *pad {
				return max(i-1, 0)
			}
		}
		return last
	}
	switch name, n := p.argument(); name {
	case poolToken, poolAppend:
		for last >= 0 && ids[last] != n {
			last--
		}
		return last
	case poolBefore:
		return before(ids, n)
	case poolAt:
		return max(len(ids)+int(n), -1)
	}
	panic(fmt.Sprintf("model: pooling rule %q, want one of ParsePooling", p))
}

// before returns the index in front of the first id, the last one when there is
// none or it comes first.
func before(ids []int32, id int32) int {
	return (max(slices.Index(ids, id), 0) - 1 + len(ids)) % len(ids)
}

// Words says what a rule reads, for people.
func (p Pooling) Words() string {
	name, n := p.argument()
	words := map[string]string{
		string(PoolHF):       "the last that is not padding",
		string(PoolLast):     "the last, whatever it is",
		string(PoolHFLegacy): "the one before the first padding",
		string(PoolPrompt):   "the one before the first padding behind the prompt",
		string(PoolFirst):    "the first",
		string(PoolMean):     "the mean of all",
		poolToken:            fmt.Sprintf("the last with the id %d", n),
		poolAppend:           fmt.Sprintf("the last with the id %d, which is put behind what does not have it", n),
		poolBefore:           fmt.Sprintf("the one before the first with the id %d, else the last", n),
		poolAt:               fmt.Sprintf("number %d from the end", -n),
	}[name]
	return fmt.Sprintf("%s: %s", p, words)
}
