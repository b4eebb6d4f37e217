package api

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

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

	named   map[string]bool            // by field; false for null
	members []map[string]bool          // of each member
	nested  map[string]map[string]bool // of the fields that are objects
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
	p := &ModelPatch{Spec: new(ModelSpec), nested: map[string]map[string]bool{}}
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
	for _, field := range []string{"guard", "backend"} {
		if p.named[field] {
			of := map[string]jsontext.Value{}
			if err := json.Unmarshal(fields[field], &of); err != nil {
				return nil, wireError(err)
			}
			p.nested[field] = names(of)
		}
	}
	// An address takes the place of the one before, whatever kind of engine that has.
	addresses := []string{BackendSGLang, BackendVLLM, BackendTEI}
	of := p.nested["backend"]
	if slices.ContainsFunc(addresses, func(a string) bool { _, ok := of[a]; return ok }) {
		for _, a := range addresses {
			of[a] = true
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
	was, is := reflect.ValueOf(base.Clone()).Elem(), reflect.ValueOf(m.Spec).Elem()
	for i := range was.NumField() {
		name := fieldName(was, i)
		value, named := p.named[name]
		switch nested := p.nested[name]; {
		case name == "members" || was.Field(i).IsZero():
		case value && nested != nil:
			for k, from := 0, was.Field(i).Elem(); k < from.NumField(); k++ {
				if _, ok := nested[fieldName(from, k)]; !ok {
					is.Field(i).Elem().Field(k).Set(from.Field(k))
				}
			}
		case value:
		case named, name == "weights" && (p.weighted() || !samePaths(base.Members, m.Spec.Members)):
			m.Reset = append(m.Reset, name)
		default:
			is.Field(i).Set(was.Field(i))
			m.Kept = append(m.Kept, name)
		}
	}
	return m
}

// fieldName returns the name on the wire of the i-th field of a struct.
func fieldName(of reflect.Value, i int) string {
	name, _, _ := strings.Cut(of.Type().Field(i).Tag.Get("json"), ",")
	return name
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
