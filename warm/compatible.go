package warm

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
)

// Aspect says what two members disagree on.
type Aspect string

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
	Field   string   // what [Options.Ignore] calls it; empty where a difference cannot be ignored
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
	b.WriteString("the checkpoints cannot be averaged")
	if n := len(e.Reasons); n > 1 {
		fmt.Fprintf(&b, ", for %d reasons", n)
	}
	for i, r := range e.Reasons {
		b.WriteString([]string{": ", "; "}[min(i, 1)] + r.String())
	}
	if how := e.Remedy(); how != "" {
		b.WriteString("; " + how)
	}
	return b.String()
}

// Remedy says how to average in spite of the differences, "" where that is impossible.
func (e *IncompatibleError) Remedy() string {
	var fields []string
	for _, r := range e.Reasons {
		if r.Field == "" {
			return ""
		}
		if !slices.Contains(fields, r.Field) {
			fields = append(fields, r.Field)
		}
	}
	if len(fields) == 0 {
		return ""
	}
	return fmt.Sprintf("if you know that this changes no score, --ignore %s (ignore: in a server's configuration) takes the values of %s",
		strings.Join(fields, ","), e.Reasons[0].Against)
}

// comparison is what checkMembers found.
type comparison struct {
	names   []string // of the tensors to be averaged
	skipped []string // of those that are left out
	ignored []Reason // differences that were to be ignored
}

// checkMembers compares every member, and the base when there is one, with the first.
func checkMembers(members []Member, base *loader.Checkpoint, ignore []string,
	interrupt func() error) (*comparison, error) {
	all := members
	if base != nil {
		all = append(slices.Clip(members), Member{Name: "base " + base.Dir, Checkpoint: base})
	}
	var reasons []Reason
	views := make([]*identity, len(all))
	for i, m := range all {
		if err := interrupt(); err != nil {
			return nil, err
		}
		v, err := newIdentity(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		views[i] = v
		reasons = append(reasons, v.alone()...)
	}
	for _, f := range ignore {
		if !slices.ContainsFunc(views, func(v *identity) bool { return v.knows(f) }) {
			return nil, fmt.Errorf("%w: %q is no field of config.json, no special token, and neither %s nor %s", ErrIgnore, f, fieldTokenizer, fieldTemplate)
		}
	}
	out := &comparison{names: views[0].parameters, skipped: views[0].buffers}
	for _, v := range views[1:] {
		for _, r := range v.against(views[0]) {
			if r.Field != "" && slices.Contains(ignore, r.Field) {
				out.ignored = append(out.ignored, r)
			} else {
				reasons = append(reasons, r)
			}
		}
	}
	if len(reasons) > 0 {
		return nil, &IncompatibleError{Reasons: reasons}
	}
	return out, nil
}

// The names of differences that are no field of a file.
const (
	fieldTokenizer = "tokenizer"
	fieldTemplate  = "chat_template"
)

// knows reports whether a name is one of something that members can differ in.
func (v *identity) knows(field string) bool {
	_, configured := v.fields[field]
	return configured || field == fieldTokenizer || field == fieldTemplate ||
		slices.Contains(specialRoles, field) || slices.Contains(specialFlags, field)
}

// identity is what of a member must equal the others'.
type identity struct {
	name       string
	checkpoint *loader.Checkpoint
	config     map[string]string // canonical field → canonical JSON
	fields     map[string]any    // of config.json as it is
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
	if v.special, err = specialTokens(m.Checkpoint.TokenizerConfig,
		m.Checkpoint.SpecialTokensMap); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(m.Checkpoint.Config, &v.fields); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	for k := range v.config {
		v.fields[k] = nil
	}
	reward := len(heads(m.Checkpoint.Names())) > 0
	for _, name := range m.Checkpoint.Names() {
		switch dtype := m.Checkpoint.DType(name); {
		case isBuffer(name), reward && slices.Contains(languageHeads, name):
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
	if strings.Contains(v.config["architectures"], "ForSequenceClassification") &&
		len(heads(v.parameters)) == 0 {
		reasons = append(reasons, Reason{Member: v.name, Aspect: AspectScoreHead, Items: headNames,
			Detail: "a sequence classifier needs trained head weights; it has none of"})
	}
	return reasons
}

// against returns every difference from the reference.
func (v *identity) against(ref *identity) (reasons []Reason) {
	add := func(aspect Aspect, field, detail string, items []string) {
		reasons = append(reasons,
			Reason{Member: v.name, Against: ref.name, Aspect: aspect, Field: field, Detail: detail,
				Items: items})
	}
	headed := len(heads(v.parameters)) > 0 && len(heads(ref.parameters)) > 0
	for _, d := range differences(v.config, ref.config) {
		if d.key == "num_labels" && headed {
			continue // The heads' rows decide, and shapes are compared.
		}
		add(AspectConfig, d.key, d.String(), nil)
	}
	if missing := minus(ref.parameters, v.parameters); len(missing) > 0 {
		add(AspectTensors, "", fmt.Sprintf("%d are missing:", len(missing)), missing)
	}
	if extra := minus(v.parameters, ref.parameters); len(extra) > 0 {
		add(AspectTensors, "", fmt.Sprintf("%d are in excess:", len(extra)), extra)
	}
	var shapes []string
	for _, name := range v.parameters {
		mine, _ := v.checkpoint.Shape(name)
		if theirs, ok := ref.checkpoint.Shape(name); ok && !slices.Equal(mine, theirs) {
			shapes = append(shapes, fmt.Sprintf("%s %v, want %v", name, mine, theirs))
		}
	}
	if len(shapes) > 0 {
		add(AspectShapes, "", fmt.Sprintf("%d differ:", len(shapes)), shapes)
	}
	if v.tokenizer != ref.tokenizer {
		add(AspectTokenizer, fieldTokenizer,
			fmt.Sprintf("tokenizer.json is %s, want %s", orNone(v.tokenizer), orNone(ref.tokenizer)), nil)
	}
	mine, theirs := maps.Clone(v.special), maps.Clone(ref.special)
	for _, flag := range specialFlags {
		if mine[flag] == "" || theirs[flag] == "" { // Silence contradicts nothing.
			delete(mine, flag)
			delete(theirs, flag)
		}
	}
	if !strings.Contains(v.checkpoint.ChatTemplate+ref.checkpoint.ChatTemplate, rolePad) {
		delete(mine, rolePad) // Nothing else reads it: the scored token follows from the configuration's pad_token_id.
		delete(theirs, rolePad)
	}
	for _, d := range differences(mine, theirs) {
		add(AspectSpecialTokens, d.key, d.String(), nil)
	}
	if v.checkpoint.ChatTemplate != ref.checkpoint.ChatTemplate {
		add(AspectChatTemplate, fieldTemplate,
			fmt.Sprintf("the template is %s, want %s", orNone(digest([]byte(v.checkpoint.ChatTemplate))),
				orNone(digest([]byte(ref.checkpoint.ChatTemplate)))), nil)
	}
	return reasons
}

// difference is a key with another value than the reference's.
type difference struct{ key, mine, want string }

func (d difference) String() string {
	return fmt.Sprintf("%s is %s, want %s", d.key, orNone(d.mine), orNone(d.want))
}

// differences lists the keys whose values differ.
func differences(mine, theirs map[string]string) (out []difference) {
	both := maps.Clone(mine)
	maps.Copy(both, theirs)
	for _, key := range slices.Sorted(maps.Keys(both)) {
		if mine[key] != theirs[key] {
			out = append(out, difference{key, mine[key], theirs[key]})
		}
	}
	return out
}

func orNone(s string) string { return cmp.Or(s, "none") }

// minus returns the elements of a that are not in b; both are sorted.
func minus(a, b []string) (out []string) {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool {
		_, found := slices.BinarySearch(b, s)
		return found
	})
}
