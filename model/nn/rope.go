package nn

import (
	"cmp"
	"math"
)

// Rope is the rotary position embedding of the first 2·len(InvFreq) elements of
// each head, in the half-split form. Source: Su et al. 2021 (arXiv 2104.09864).
//
// Some models stretch it by the length of the input. The frequencies of a sequence
// are then those of its own length, whatever is scored beside it or was before.
type Rope struct {
	InvFreq      []float32 // radians per position, one for each rotated pair
	MaxPositions int       // positions are below it
	Magnitude    float32   // cos and sin are multiplied by it; 0 for 1

	// Limit is the longest sequence that InvFreq holds for, 0 for any. Longer ones
	// are rotated by Long or, where that is nil, by what Theta and Factor give for
	// their length: see [DynamicTheta].
	Limit         int
	Long          []float32
	Theta, Factor float64
}

// Reach says which frequencies a sequence of so many tokens has: 0 for InvFreq,
// and for others a length with equal frequencies. It grows with the length, so that
// the largest reach of several embeddings has the frequencies of each.
func (r *Rope) Reach(length int) int32 {
	switch {
	case r.Limit == 0 || length <= r.Limit:
		return 0
	case r.Long != nil:
		return int32(r.Limit + 1)
	}
	return int32(length)
}

// Fixed returns the frequencies of sequences of a reach, nil where they follow
// the length.
func (r *Rope) Fixed(reach int32) []float32 {
	if r.Reach(int(reach)) == 0 {
		return r.InvFreq
	}
	return r.Long
}

// Following writes the frequencies of a sequence of so many tokens, which follow
// its length.
func (r *Rope) Following(dst []float32, length int) {
	d := 2 * len(r.InvFreq)
	fillInvFreq(dst, DynamicTheta(r.Theta, r.Factor, r.Limit, length, d), d)
}

// Turn returns cosine and sine of the angle at a position of a pair's frequency. The product is
// rounded to float32 as the reference does.
func (r *Rope) Turn(freq float32, pos int) (cos, sin float32) {
	s, c := math.Sincos(float64(float32(pos) * freq))
	scale := cmp.Or(r.Magnitude, 1)
	return float32(c) * scale, float32(s) * scale
}

// DynamicTheta returns theta for a sequence longer than the limit, so that waves
// of the longest kind stretch with it. Source: transformers
// modeling_rope_utils._compute_dynamic_ntk_parameters.
func DynamicTheta(theta, factor float64, limit, length, d int) float64 {
	stretch := factor*float64(length)/float64(limit) - (factor - 1)
	return theta * math.Pow(stretch, float64(d)/float64(d-2))
}

// InvFreq returns theta^(-2i/d) for the d/2 pairs of d rotated elements.
func InvFreq(theta float64, d int) []float32 {
	f := make([]float32, d/2)
	fillInvFreq(f, theta, d)
	return f
}

func fillInvFreq(f []float32, theta float64, d int) {
	for i := range f {
		f[i] = float32(1 / math.Pow(theta, float64(2*i)/float64(d)))
	}
}

// Llama3Frequencies rescales frequencies for a context factor times as long:
// waves longer than original/low are slowed by factor, those shorter than
// original/high are kept, and the rest is interpolated.
// Source: transformers modeling_rope_utils._compute_llama3_parameters.
func Llama3Frequencies(invFreq []float32, factor, low, high, original float64) {
	for i, f := range invFreq {
		wave := 2 * math.Pi / float64(f)
		switch {
		case wave > original/low:
			invFreq[i] = float32(float64(f) / factor)
		case wave >= original/high:
			smooth := (original/wave - low) / (high - low)
			invFreq[i] = float32((1-smooth)*float64(f)/factor + smooth*float64(f))
		}
	}
}

// SlowedFrequencies returns frequencies that are each divided by a factor.
func SlowedFrequencies(theta float64, by []float64) []float32 {
	out := make([]float32, len(by))
	for i, f := range by {
		out[i] = float32(1 / (f * math.Pow(theta, float64(i)/float64(len(by)))))
	}
	return out
}

// Yarn are the numbers of the rope_type "yarn".
type Yarn struct {
	Factor, Original   float64 // how much longer than which context
	BetaFast, BetaSlow float64 // turns within the original context: of pairs that are kept, and that are slowed
	Exact              bool    // the bounds between them are no whole pairs
}

// Frequencies returns those of d rotated elements: pairs that turn often within
// the original context are kept, slow ones are divided by the factor, and those
// between are mixed. Source: Peng et al. 2023 (arXiv 2309.00071); transformers
// modeling_rope_utils._compute_yarn_parameters.
func (y *Yarn) Frequencies(theta float64, d int) []float32 {
	pair := func(turns float64) float64 {
		return float64(d) * math.Log(y.Original/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := pair(y.BetaFast), pair(y.BetaSlow)
	if !y.Exact {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(d-1))
	if low == high {
		high += 0.001
	}
	out := make([]float32, d/2)
	for i := range out {
		f := 1 / math.Pow(theta, float64(2*i)/float64(d))
		slowed := min(max((float64(i)-low)/(high-low), 0), 1)
		out[i] = float32(f/y.Factor*slowed + f*(1-slowed))
	}
	return out
}
