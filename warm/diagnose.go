package warm

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/loader"
)

// Limits of Diagnose: it looks at some runs of some matrices, which is enough to tell relatives
// from strangers.
const (
	diagnosedTensors = 12      // the largest ones
	diagnosedValues  = 1 << 15 // of each, spread evenly in runs
	diagnosedRun     = 1 << 10 // values in a row
)

// relatedCosine is the cosine under which two members count as unrelated. Children of one initialisation stay
// near 1 (fine-tuning moves weights by a fraction of their size); strangers are near 0, since random
// directions in many dimensions are orthogonal. Everything between is open, and 0.5 is far from both.
const relatedCosine = 0.5

// Similarity compares two members.
type Similarity struct {
	A, B string // names

	Cosine float64 // of the sampled values together; 1 is the same direction
	Lowest float64 // the smallest cosine of one matrix; NaN when none is defined, as for zeros
	Tensor string  // that matrix

	Distance float64 // ‖A−B‖ / ‖A‖ of the sampled values
	Head     float64 // cosine of the score heads; NaN when there are none
}

// Diagnosis says how members relate to each other.
type Diagnosis struct {
	Tensors  []string // the sampled matrices
	Pairs    []Similarity
	Warnings []Warning // duplicates, strangers, heads that were initialised apart
}

// Diagnose compares every pair of members by samples of their largest matrices and by their score
// heads. Weight averaging assumes one shared initialisation; this finds members that do not look
// like it, in milliseconds. It proves nothing: only the averaged model's accuracy on held-out
// preferences does. Members must be compatible, as for [NewAverage]; the time is linear in the
// number of pairs, the memory in the number of members.
func Diagnose(members []Member) (*Diagnosis, error) {
	members, err := named(members)
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	compared, err := checkMembers(members, nil, nil, never)
	if err != nil {
		return nil, err
	}
	names := compared.names
	first := members[0].Checkpoint
	d := &Diagnosis{Tensors: largest(first, names)}
	headNames := heads(names)
	samples := make([][][]float32, len(members)) // member, tensor, values
	headValues := make([][]float32, len(members))
	for i, m := range members {
		for _, name := range d.Tensors {
			v, err := sample(m.Checkpoint, name)
			if err != nil {
				return nil, fmt.Errorf("diagnose %s: %w", m.Name, err)
			}
			samples[i] = append(samples[i], v)
		}
		for _, name := range headNames {
			v, err := sample(m.Checkpoint, name)
			if err != nil {
				return nil, fmt.Errorf("diagnose %s: %w", m.Name, err)
			}
			headValues[i] = append(headValues[i], v...)
		}
	}
	for i := range members {
		for j := i + 1; j < len(members); j++ {
			s := similarity(samples[i], samples[j], d.Tensors)
			s.A, s.B = members[i].Name, members[j].Name
			var h moments
			h.add(headValues[i], headValues[j])
			s.Head = h.cosine()
			d.Pairs = append(d.Pairs, s)
			d.Warnings = append(d.Warnings, s.warnings()...)
		}
	}
	twice, err := duplicates(members, names, never)
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	d.Warnings = append(d.Warnings, twice...)
	return d, nil
}

// warnings says what is wrong with a pair. An undefined cosine, of something that is all zero, is
// no sign of anything.
func (s Similarity) warnings() []Warning {
	pair := []string{s.A, s.B}
	switch {
	case s.Lowest < relatedCosine:
		return []Warning{{Kind: WarnUnrelated, Members: pair,
			Detail: fmt.Sprintf("cosine %.3f in %s; members of an average need one shared initialisation", s.Lowest, s.Tensor)}}
	case s.Head < relatedCosine:
		return []Warning{{Kind: WarnHeads, Members: pair,
			Detail: fmt.Sprintf("cosine %.3f; start all members from one probed head", s.Head)}}
	}
	return nil
}

// largest returns the names of the largest matrices. Vectors are no evidence: norms start at 1 in
// every model.
func largest(c *loader.Checkpoint, names []string) []string {
	matrices := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		shape, _ := c.Shape(name)
		return len(shape) < 2 || slices.Contains(heads([]string{name}), name)
	})
	slices.SortStableFunc(matrices, func(a, b string) int {
		return cmp.Compare(loader.Elements(c, b), loader.Elements(c, a))
	})
	return slices.Clip(matrices[:min(len(matrices), diagnosedTensors)])
}

// sample reads up to diagnosedValues values of a tensor in runs that are spread evenly.
func sample(c *loader.Checkpoint, name string) ([]float32, error) {
	n := loader.Elements(c, name)
	if n <= diagnosedValues {
		out := make([]float32, n)
		return out, c.ReadAt(out, name, 0)
	}
	out := make([]float32, diagnosedValues)
	const runs = diagnosedValues / diagnosedRun
	for i := range runs {
		at := (n - diagnosedRun) / (runs - 1) * i
		if err := c.ReadAt(out[i*diagnosedRun:(i+1)*diagnosedRun], name, at); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// moments are the sums that a cosine and a distance are made of.
type moments struct{ aa, bb, ab, dd float64 }

func (m *moments) add(a, b []float32) {
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		m.aa += x * x
		m.bb += y * y
		m.ab += x * y
		m.dd += (x - y) * (x - y)
	}
}

// cosine is NaN when one side is zero.
func (m *moments) cosine() float64 { return m.ab / math.Sqrt(m.aa*m.bb) }

func similarity(a, b [][]float32, names []string) Similarity {
	s := Similarity{Lowest: math.NaN()}
	var all moments
	for i := range a {
		var m moments
		m.add(a[i], b[i])
		if c := m.cosine(); math.IsNaN(s.Lowest) || c < s.Lowest {
			s.Lowest, s.Tensor = c, names[i]
		}
		all.aa, all.bb, all.ab, all.dd = all.aa+m.aa, all.bb+m.bb, all.ab+m.ab, all.dd+m.dd
	}
	s.Cosine, s.Distance = all.cosine(), math.Sqrt(all.dd/all.aa)
	return s
}
