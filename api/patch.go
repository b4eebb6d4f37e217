package api

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ModelPatch is a change of a model as the body of PUT /v1/models/{name} says
// it: a field that is named takes its place, null gives it its default, and what
// is not named stays as it is (RFC 7396, to which the members add the rules of
// [ModelPatch.Over]).
type ModelPatch struct {
	// Spec holds the fields that are named. Its paths may be changed.
	Spec *ModelSpec

	named   map[string]bool   // by field; false for null
	members []map[string]bool // of each member
	guard   map[string]bool
	backend map[string]bool
}

// Merged is what becomes of a model.
type Merged struct {
	Spec  *ModelSpec
	Kept  []string // fields that are as they were, where that is not their default
	Reset []string // fields that were set and now have their default: by null, or since they belong to members that are gone
}

// NewModelPatch returns the change that names the fields of spec that are not zero.
func NewModelPatch(spec *ModelSpec) *ModelPatch {
	body, err := json.Marshal(spec)
	if err != nil {
		panic("api: " + err.Error()) // numbers were read from JSON
	}
	p, err := DecodeModelPatch(body)
	if err != nil {
		panic("api: " + err.Error()) // our own words
	}
	return p
}

// DecodeModelPatch reads the body of PUT /v1/models/{name}. It checks the form
// and not the meaning, which [ModelSpec.Validate] does of what is merged.
func DecodeModelPatch(body []byte) (*ModelPatch, error) {
	p := &ModelPatch{Spec: new(ModelSpec)}
	if string(bytes.TrimSpace(body)) == "null" {
		return nil, Errorf(CodeInvalidValue, "", "null, want an object: {} changes nothing")
	}
	if err := decode(body, p.Spec); err != nil {
		return nil, err
	}
	fields := map[string]jsontext.Value{}
	if err := decode(body, &fields); err != nil {
		return nil, err
	}
	p.named = names(fields)
	if p.named["members"] {
		var members []jsontext.Value
		if err := json.Unmarshal(fields["members"], &members); err != nil {
			return nil, wireError(err)
		}
		for _, m := range members {
			of := map[string]jsontext.Value{}
			if m.Kind() == '{' {
				if err := json.Unmarshal(m, &of); err != nil {
					return nil, wireError(err)
				}
			}
			p.members = append(p.members, names(of))
		}
	}
	for field, to := range map[string]*map[string]bool{"guard": &p.guard, "backend": &p.backend} {
		if p.named[field] {
			of := map[string]jsontext.Value{}
			if err := json.Unmarshal(fields[field], &of); err != nil {
				return nil, wireError(err)
			}
			*to = names(of)
		}
	}
	return p, nil
}

func names(fields map[string]jsontext.Value) map[string]bool {
	out := map[string]bool{}
	for name, v := range fields {
		out[name] = v.Kind() != 'n'
	}
	return out
}

// specField is one field of a spec, but for the members.
type specField struct {
	name string
	set  func(s *ModelSpec) bool // whether it is not the default
	copy func(to, from *ModelSpec)
}

var specFields = []specField{
	{"weights", func(s *ModelSpec) bool { return s.Weights != nil },
		func(to, from *ModelSpec) { to.Weights = slices.Clone(from.Weights) }},
	{"base", func(s *ModelSpec) bool { return s.Base != "" },
		func(to, from *ModelSpec) { to.Base = from.Base }},
	{"alpha", func(s *ModelSpec) bool { return s.Alpha != nil },
		func(to, from *ModelSpec) { to.Alpha = clonePointer(from.Alpha) }},
	{"extrapolate", func(s *ModelSpec) bool { return s.Extrapolate },
		func(to, from *ModelSpec) { to.Extrapolate = from.Extrapolate }},
	{"ignore", func(s *ModelSpec) bool { return s.Ignore != nil },
		func(to, from *ModelSpec) { to.Ignore = slices.Clone(from.Ignore) }},
	{"mode", func(s *ModelSpec) bool { return s.Mode != "" },
		func(to, from *ModelSpec) { to.Mode = from.Mode }},
	{"dtype", func(s *ModelSpec) bool { return s.DType != "" },
		func(to, from *ModelSpec) { to.DType = from.DType }},
	{"pooling", func(s *ModelSpec) bool { return s.Pooling != "" },
		func(to, from *ModelSpec) { to.Pooling = from.Pooling }},
	{"ending", func(s *ModelSpec) bool { return s.Ending != "" },
		func(to, from *ModelSpec) { to.Ending = from.Ending }},
	{"double_bos", func(s *ModelSpec) bool { return s.DoubleBOS },
		func(to, from *ModelSpec) { to.DoubleBOS = from.DoubleBOS }},
	{"head", func(s *ModelSpec) bool { return s.Head != "" },
		func(to, from *ModelSpec) { to.Head = from.Head }},
	{"output", func(s *ModelSpec) bool { return s.Output != "" },
		func(to, from *ModelSpec) { to.Output = from.Output }},
	{"max_tokens", func(s *ModelSpec) bool { return s.MaxTokens != 0 },
		func(to, from *ModelSpec) { to.MaxTokens = from.MaxTokens }},
	{"ab_sample", func(s *ModelSpec) bool { return s.ABSample != 0 },
		func(to, from *ModelSpec) { to.ABSample = from.ABSample }},
	{"swap", func(s *ModelSpec) bool { return s.Swap != "" },
		func(to, from *ModelSpec) { to.Swap = from.Swap }},
	{"guard", func(s *ModelSpec) bool { return s.Guard != nil },
		func(to, from *ModelSpec) { to.Guard = clonePointer(from.Guard) }},
	{"aliases", func(s *ModelSpec) bool { return s.Aliases != nil },
		func(to, from *ModelSpec) { to.Aliases = slices.Clone(from.Aliases) }},
	{"backend", func(s *ModelSpec) bool { return s.Backend != nil },
		func(to, from *ModelSpec) { to.Backend = clonePointer(from.Backend) }},
}

// Over returns the model that the change makes of base, which is nil where
// there is none. Members that are named take the place of all that were; one
// whose path a member of base has keeps that one's name and calibration (mean
// and std) where it names no other, as they belong to the checkpoint. The
// weights, the members' own or the list's, stay only with members of the
// same paths in the same order.
func (p *ModelPatch) Over(base *ModelSpec) *Merged {
	m := &Merged{Spec: p.Spec.Clone()}
	if base == nil {
		return m
	}
	if p.named["members"] {
		p.mergeMembers(m, base)
	} else {
		m.Spec.Members = base.Clone().Members
		for i := range m.Spec.Members {
			if p.named["weights"] {
				m.Spec.Members[i].Weight = 0 // the list's take their place
			}
		}
		m.Kept = append(m.Kept, "members")
	}
	for _, f := range specFields {
		value, named := p.named[f.name]
		switch {
		case !f.set(base) || value:
		case named:
			m.Reset = append(m.Reset, f.name)
		case f.name == "weights" && (p.weighted() || !samePaths(base.Members, m.Spec.Members)):
			m.Reset = append(m.Reset, f.name)
		default:
			f.copy(m.Spec, base)
			m.Kept = append(m.Kept, f.name)
		}
	}
	if g := m.Spec.Guard; p.named["guard"] && base.Guard != nil {
		if _, ok := p.guard["pairs"]; !ok {
			g.Pairs = base.Guard.Pairs
		}
		if _, ok := p.guard["max_loss"]; !ok {
			g.MaxLoss = base.Guard.MaxLoss
		}
	}
	if p.named["backend"] && base.Backend != nil {
		p.mergeBackend(m.Spec.Backend, *base.Backend)
	}
	return m
}

// mergeBackend gives b the fields of the backend before that are not named. An
// address takes the place of the one before, whatever kind of engine that has.
func (p *ModelPatch) mergeBackend(b *BackendSpec, was BackendSpec) {
	missing := func(fields ...string) bool {
		return !slices.ContainsFunc(fields, func(f string) bool { _, ok := p.backend[f]; return ok })
	}
	if missing(BackendSGLang, BackendVLLM, BackendTEI) {
		b.SGLang, b.VLLM, b.TEI = was.SGLang, was.VLLM, was.TEI
	}
	if missing("directory") {
		b.Directory = was.Directory
	}
	if missing("engine_directory") {
		b.EngineDirectory = was.EngineDirectory
	}
	if missing("verify") {
		b.Verify = was.Verify
	}
	if missing("tolerance") {
		b.Tolerance = was.Tolerance
	}
	if missing("concurrency") {
		b.Concurrency = was.Concurrency
	}
}

// weighted reports whether a member brings a weight of its own.
func (p *ModelPatch) weighted() bool {
	return slices.ContainsFunc(p.members, func(named map[string]bool) bool { return named["weight"] })
}

func (p *ModelPatch) mergeMembers(m *Merged, base *ModelSpec) {
	members := m.Spec.Members
	same := samePaths(base.Members, members)
	reweighed := p.weighted() || p.named["weights"]
	for i := range members {
		named := p.members[i]
		missing := func(field string) bool { _, ok := named[field]; return !ok }
		at := slices.IndexFunc(base.Members, func(b MemberSpec) bool { return b.Path == members[i].Path })
		if at < 0 {
			continue
		}
		was := base.Members[at]
		if missing("name") {
			members[i].Name = was.Name
		}
		if missing("mean") && missing("std") {
			members[i].Mean, members[i].Std = clonePointer(was.Mean), clonePointer(was.Std)
		}
		if same && !reweighed && missing("weight") {
			members[i].Weight = was.Weight
		}
	}
	report := func(field string, before, after bool) {
		switch {
		case before && after:
			m.Kept = append(m.Kept, field)
		case before:
			m.Reset = append(m.Reset, field)
		}
	}
	weight := func(x MemberSpec) bool { return x.Weight != 0 }
	uncalibrated := func(x MemberSpec) bool { return x.Mean == nil }
	if !reweighed {
		report("members[].weight", slices.ContainsFunc(base.Members, weight),
			slices.ContainsFunc(members, weight))
	}
	if !slices.ContainsFunc(p.members, func(named map[string]bool) bool { return named["mean"] }) {
		report("members[].mean and std", !slices.ContainsFunc(base.Members, uncalibrated),
			!slices.ContainsFunc(members, uncalibrated))
	}
}

func samePaths(a, b []MemberSpec) bool {
	return slices.EqualFunc(a, b, func(x, y MemberSpec) bool { return x.Path == y.Path })
}
