package warm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
)

// Aspect says what two members disagree on.
type Aspect string

// The aspects.
const (
	AspectConfig        Aspect = "config"         // a field that changes what the model computes
	AspectTensors       Aspect = "tensors"        // a tensor that one of them lacks
	AspectShapes        Aspect = "shapes"         // a tensor of another shape
	AspectElements      Aspect = "elements"       // tensors that are neither floating nor known buffers
	AspectScoreHead     Aspect = "score head"     // a sequence classifier without one
	AspectTokenizer     Aspect = "tokenizer"      // tokenizer.json
	AspectSpecialTokens Aspect = "special tokens" // bos, eos, pad and so on
	AspectChatTemplate  Aspect = "chat template"
)

// Reason is one reason why members cannot be averaged.
type Reason struct {
	Member  string // who differs
	Against string // from whom; empty when the member is wrong by itself
	Aspect  Aspect
	Detail  string   // in words, without the names in Items
	Items   []string // the fields or tensors concerned, all of them
}

func (r Reason) String() string {
	const shown = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", r.Member, r.Aspect)
	if r.Against != "" {
		fmt.Fprintf(&b, " against %s", r.Against)
	}
	b.WriteString(": " + r.Detail)
	for i, item := range r.Items {
		if i == shown && len(r.Items) > shown+1 {
			fmt.Fprintf(&b, " and %d more", len(r.Items)-shown)
			break
		}
		b.WriteString(" " + item)
	}
	return b.String()
}

// IncompatibleError holds every reason why members cannot be averaged.
type IncompatibleError struct{ Reasons []Reason }

func (e *IncompatibleError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "warm: checkpoints cannot be averaged, %d reasons", len(e.Reasons))
	for _, r := range e.Reasons {
		b.WriteString("; " + r.String())
	}
	return b.String()
}

// checkMembers compares every member, and the base when there is one, with the first. It returns the names of the tensors to
// be averaged and of those that are left out.
func checkMembers(members []Member, base *loader.Checkpoint) (names, skipped []string, err error) {
	all := members
	if base != nil {
		all = append(slices.Clip(members), Member{Name: "base " + base.Dir, Checkpoint: base})
	}
	var reasons []Reason
	views := make([]*identity, len(all))
	for i, m := range all {
		v, err := newIdentity(m)
		if err != nil {
			return nil, nil, fmt.Errorf("warm: %s: %w", m.Name, err)
		}
		views[i] = v
		reasons = append(reasons, v.alone()...)
	}
	for _, v := range views[1:] {
		reasons = append(reasons, v.against(views[0])...)
	}
	if len(reasons) > 0 {
		return nil, nil, &IncompatibleError{Reasons: reasons}
	}
	return views[0].parameters, views[0].buffers, nil
}

// identity is what of a member must equal the others'.
type identity struct {
	name       string
	checkpoint *loader.Checkpoint
	config     map[string]string // canonical field → canonical JSON
	tokenizer  string            // digest of the canonical tokenizer.json; "" when there is none
	special    map[string]string // role → token
	parameters []string          // sorted
	buffers    []string          // sorted
	strange    []string          // neither floating nor a known buffer, as name (dtype)
}

func newIdentity(m Member) (*identity, error) {
	v := &identity{name: m.Name, checkpoint: m.Checkpoint}
	var err error
	if v.config, err = canonicalConfig(m.Checkpoint.Config); err != nil {
		return nil, err
	}
	if v.tokenizer, err = tokenizerDigest(m.Checkpoint.Tokenizer); err != nil {
		return nil, err
	}
	if v.special, err = specialTokens(m.Checkpoint.TokenizerConfig, m.Checkpoint.SpecialTokensMap); err != nil {
		return nil, err
	}
	for _, name := range m.Checkpoint.Names() {
		switch dtype := m.Checkpoint.DType(name); {
		case isBuffer(name):
			v.buffers = append(v.buffers, name)
		case isFloat(dtype):
			v.parameters = append(v.parameters, name)
		default:
			v.strange = append(v.strange, fmt.Sprintf("%s (%s)", name, dtype))
		}
	}
	return v, nil
}

// alone returns what is wrong with a member whatever the others are.
func (v *identity) alone() (reasons []Reason) {
	if len(v.strange) > 0 {
		reasons = append(reasons, Reason{Member: v.name, Aspect: AspectElements, Items: v.strange,
			Detail: "not floating and no known buffer; quantised weights cannot be averaged:"})
	}
	if strings.Contains(v.config["architectures"], "ForSequenceClassification") && len(heads(v.parameters)) == 0 {
		reasons = append(reasons, Reason{Member: v.name, Aspect: AspectScoreHead, Items: headNames,
			Detail: "a sequence classifier needs trained head weights; it has none of"})
	}
	return reasons
}

// against returns every difference from the reference.
func (v *identity) against(ref *identity) (reasons []Reason) {
	add := func(aspect Aspect, detail string, items []string) {
		reasons = append(reasons, Reason{Member: v.name, Against: ref.name, Aspect: aspect, Detail: detail, Items: items})
	}
	for _, d := range differences(v.config, ref.config) {
		add(AspectConfig, d, nil)
	}
	if missing := minus(ref.parameters, v.parameters); len(missing) > 0 {
		add(AspectTensors, fmt.Sprintf("%d are missing:", len(missing)), missing)
	}
	if extra := minus(v.parameters, ref.parameters); len(extra) > 0 {
		add(AspectTensors, fmt.Sprintf("%d are in excess:", len(extra)), extra)
	}
	var shapes []string
	for _, name := range v.parameters {
		mine, _ := v.checkpoint.Shape(name)
		if theirs, ok := ref.checkpoint.Shape(name); ok && !slices.Equal(mine, theirs) {
			shapes = append(shapes, fmt.Sprintf("%s %v, want %v", name, mine, theirs))
		}
	}
	if len(shapes) > 0 {
		add(AspectShapes, fmt.Sprintf("%d differ:", len(shapes)), shapes)
	}
	if v.tokenizer != ref.tokenizer {
		add(AspectTokenizer, fmt.Sprintf("tokenizer.json is %s, want %s", orNone(v.tokenizer), orNone(ref.tokenizer)), nil)
	}
	mine, theirs := maps.Clone(v.special), maps.Clone(ref.special)
	for _, flag := range specialFlags {
		if mine[flag] == "" || theirs[flag] == "" { // Silence contradicts nothing.
			delete(mine, flag)
			delete(theirs, flag)
		}
	}
	for _, d := range differences(mine, theirs) {
		add(AspectSpecialTokens, d, nil)
	}
	if v.checkpoint.ChatTemplate != ref.checkpoint.ChatTemplate {
		add(AspectChatTemplate, fmt.Sprintf("the template is %s, want %s", orNone(digest([]byte(v.checkpoint.ChatTemplate))),
			orNone(digest([]byte(ref.checkpoint.ChatTemplate)))), nil)
	}
	return reasons
}

// differences lists the keys whose values differ, in words.
func differences(mine, theirs map[string]string) (out []string) {
	for _, key := range sortedKeys(mine, theirs) {
		if mine[key] != theirs[key] {
			out = append(out, fmt.Sprintf("%s is %s, want %s", key, orNone(mine[key]), orNone(theirs[key])))
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// minus returns the elements of a that are not in b; both are sorted.
func minus(a, b []string) (out []string) {
	for _, s := range a {
		if _, found := slices.BinarySearch(b, s); !found {
			out = append(out, s)
		}
	}
	return out
}

// sortedKeys returns the keys of all maps, each once, sorted.
func sortedKeys(ms ...map[string]string) (keys []string) {
	for _, m := range ms {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
