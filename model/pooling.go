package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pooling is the rule that says which tokens of a sequence a score head reads: for
// most models one. It is a name, or a name and numbers, as in "token:128003"; a head
// that reads tokens for several purposes has as many rules, joined by a plus, as in
// "last+pattern:5,6". The rules in the wild differ when the padding token occurs in
// the text, as it does when a model pads with its end-of-text token; and some models
// are read at tokens of their own.
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

// Names of the rules that have numbers.
const (
	poolToken   = "token"   // the last occurrence of an id
	poolAppend  = "append"  // the same, of an id that is put behind a sequence without it
	poolBefore  = "before"  // the token before the first occurrence of an id, as PoolHFLegacy has it of the padding token
	poolAt      = "at"      // a place counted from the end: at:-1 is the last token
	poolPattern = "pattern" // the first token of the last occurrence of several ids
	poolEvery   = "every"   // the first tokens of all occurrences of one or more ids: the marks behind the steps of a solution
	poolLines   = "lines"   // the same behind the prompt, of an answer each of whose lines is followed by the id
)

// PoolingForms are the forms of rules, for people.
const PoolingForms = "hf, last, hf_legacy, first_pad_after_prompt, first, mean, token:ID, append:ID, before:ID, at:-N, every:ID,…, lines:ID, pattern:ID,… or several joined by +"

// maxPattern bounds the ids of a pattern.
const maxPattern = 64

// rule is one of the rules of a Pooling.
type rule struct {
	name string // the rule itself where it has no numbers
	ids  []int32
	at   int32 // of poolAt
}

// rules splits a Pooling that [ParsePooling] has read.
func (p Pooling) rules() []rule {
	if p = cmp.Or(p, PoolHF); p.Padding() {
		return []rule{{name: string(p)}}
	}
	var out []rule
	for s := range strings.SplitSeq(string(p), "+") {
		r, err := parseRule(s)
		if err != nil {
			panic(err.Error() + ": ParsePooling has not seen it")
		}
		out = append(out, r)
	}
	return out
}

// ParsePooling reads a rule, or several; "" is PoolHF.
func ParsePooling(s string) (Pooling, error) {
	if s == "" {
		return PoolHF, nil
	}
	parts := strings.Split(s, "+")
	for i, part := range parts {
		r, err := parseRule(part)
		if err != nil {
			return "", err
		}
		if len(parts) > 1 && (r.name == string(PoolMean) || r.name == poolEvery || r.name == poolLines) {
			return "", fmt.Errorf("model: pooling rule %q: %s stands alone", s, r.name)
		}
		parts[i] = r.String()
	}
	return Pooling(strings.Join(parts, "+")), nil
}

func parseRule(s string) (rule, error) {
	name, arg, has := strings.Cut(s, ":")
	r := rule{name: name}
	want := "a token id, such as " + name + ":128003"
	switch {
	case !has && slices.Contains([]Pooling{PoolHF, PoolLast, PoolHFLegacy, PoolPrompt, PoolFirst,
		PoolMean}, Pooling(s)):
		return r, nil
	case !has || !slices.Contains([]string{poolToken, poolAppend, poolBefore, poolAt, poolPattern,
		poolEvery, poolLines}, name):
		return r, fmt.Errorf("model: unknown pooling rule %q, want %s", s, PoolingForms)
	case name == poolAt:
		n, err := strconv.ParseInt(arg, 10, 32)
		if r.at = int32(n); err != nil || n >= 0 {
			return r, fmt.Errorf("model: pooling rule %q: want a place from the end, such as at:-3", s)
		}
		return r, nil
	}
	most := 1
	if name == poolPattern || name == poolEvery {
		most, want = maxPattern, fmt.Sprintf("up to %d token ids, such as %s:128009,128006", maxPattern, name)
	}
	for number := range strings.SplitSeq(arg, ",") {
		n, err := strconv.ParseInt(number, 10, 32)
		if r.ids = append(r.ids, int32(n)); err != nil || n < 0 || len(r.ids) > most {
			return r, fmt.Errorf("model: pooling rule %q: want %s", s, want)
		}
	}
	return r, nil
}

// String is the rule as it is written.
func (r rule) String() string {
	switch {
	case r.name == poolAt:
		return fmt.Sprintf("%s:%d", r.name, r.at)
	case r.ids == nil:
		return r.name
	}
	return r.name + ":" + r.numbers()
}

// numbers are the ids of a rule.
func (r rule) numbers() string {
	var out []string
	for _, id := range r.ids {
		out = append(out, strconv.Itoa(int(id)))
	}
	return strings.Join(out, ",")
}

// Appends returns the id that is put behind a sequence without it.
func (p Pooling) Appends() (id int32, ok bool) {
	for _, r := range p.rules() {
		if r.name == poolAppend {
			return r.ids[0], true
		}
	}
	return 0, false
}

// Lines returns the id that stands behind each line of an answer.
func (p Pooling) Lines() (id int32, ok bool) {
	r := p.rules()[0]
	if r.name != poolLines {
		return 0, false
	}
	return r.ids[0], true
}

// IDs returns all ids that the rules name.
func (p Pooling) IDs() (ids []int32) {
	for _, r := range p.rules() {
		ids = append(ids, r.ids...)
	}
	return ids
}

// Padding says whether the rule goes by the end of the text and its padding alone,
// and not by tokens of the model's own.
func (p Pooling) Padding() bool {
	return slices.Contains([]Pooling{PoolHF, PoolLast, PoolHFLegacy, PoolPrompt}, p)
}

// Many says whether the rule reads any number of tokens.
func (p Pooling) Many() bool {
	return slices.ContainsFunc(p.rules(),
		func(r rule) bool { return r.name == poolEvery || r.name == poolLines })
}

// Read returns the indices of the tokens of ids, which are not empty, that the rules
// read, in their order. A nil pad means that the model has no padding token; prompt
// is the number of prompt tokens, which PoolPrompt and lines alone read. missing is a rule
// for which ids lack the tokens, "" when there is none.
func (p Pooling) Read(ids []int32, pad *int32, prompt int) (read []int32, missing Pooling) {
	for _, r := range p.rules() {
		n := len(read)
		if r.name == poolEvery || r.name == poolLines {
			for i := range len(ids) - len(r.ids) + 1 {
				if slices.Equal(ids[i:i+len(r.ids)], r.ids) && (r.name == poolEvery || i >= prompt) {
					read = append(read, int32(i))
				}
			}
		} else if at := r.index(ids, pad, prompt); at >= 0 {
			read = append(read, int32(at))
		}
		if len(read) == n {
			return nil, Pooling(r.String())
		}
	}
	return read, ""
}

// Kept returns which tokens of ids must stay for the rules to find what they name:
// ranges, from and to.
func (p Pooling) Kept(ids []int32) (out [][2]int) {
	for _, r := range p.rules() {
		if r.name != poolToken && r.name != poolAppend && r.name != poolPattern {
			continue
		}
		if at := r.index(ids, nil, 0); at >= 0 {
			out = append(out, [2]int{at, at + len(r.ids)})
		}
	}
	return out
}

// index returns the index of the token that a rule of one token reads, -1 for none.
func (r rule) index(ids []int32, pad *int32, prompt int) int {
	last := len(ids) - 1
	switch r.name {
	case poolBefore:
		return before(ids, r.ids[0])
	case poolAt:
		return max(len(ids)+int(r.at), -1)
	case poolToken, poolAppend, poolPattern:
		for i := len(ids) - len(r.ids); i >= 0; i-- {
			if slices.Equal(ids[i:i+len(r.ids)], r.ids) {
				return i
			}
		}
		return -1
	}
	switch p := Pooling(r.name); {
	case p == PoolFirst:
		return 0
	case pad == nil || p == PoolLast || p == PoolMean:
		return last
	case p == PoolHFLegacy:
		return before(ids, *pad)
	case p == PoolPrompt:
		for i := prompt; i < len(ids); i++ {
			if ids[i] == *pad {
				return max(i-1, 0)
			}
		}
	default:
		for last > 0 && ids[last] == *pad {
			last--
		}
	}
	return last
}

// before returns the index in front of the first id, the last one when there is
// none or it comes first.
func before(ids []int32, id int32) int {
	return (max(slices.Index(ids, id), 0) - 1 + len(ids)) % len(ids)
}

// Words says what the rules read, for people.
func (p Pooling) Words() string {
	var out []string
	for _, r := range p.rules() {
		out = append(out, map[string]string{
			string(PoolHF):       "the last that is not padding",
			string(PoolLast):     "the last, whatever it is",
			string(PoolHFLegacy): "the one before the first padding",
			string(PoolPrompt):   "the one before the first padding behind the prompt",
			string(PoolFirst):    "the first",
			string(PoolMean):     "the mean of all",
			poolToken:            "the last with the id " + r.numbers(),
			poolAppend: "the last with the id " + r.numbers() +
				", which is put behind what does not have it",
			poolBefore:  "the one before the first with the id " + r.numbers() + ", else the last",
			poolAt:      fmt.Sprintf("number %d from the end", -r.at),
			poolPattern: "the first of the last ids " + strings.ReplaceAll(r.numbers(), ",", " "),
			poolEvery: "each with the id " +
				strings.Replace(strings.ReplaceAll(r.numbers(), ",", " "), " ", " in front of ", 1),
			poolLines: "the id " + r.numbers() + " behind each line of the answer",
		}[r.name])
	}
	return fmt.Sprintf("%s: %s", p, strings.Join(out, "; "))
}
