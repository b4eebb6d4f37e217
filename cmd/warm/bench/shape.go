package bench

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"

	"github.com/warmserve/warmserve/model"
)

// shape is a batch to be scored: sequences of random ids.
type shape struct {
	name    string
	batch   int // sequences
	low     int // lengths are uniform in [low, length]
	length  int
	answers int // consecutive sequences that share their first tokens
	shared  int // how many tokens they share
}

var shapePattern = regexp.MustCompile(`^(\d{1,6})x(?:(\d{1,6})x)?(\d{1,6})(?:([-+])(\d{1,6}))?$`)

// parseShape reads BxL, B sequences of L tokens; BxLO-HI, lengths uniform in
// [LO, HI]; BxP+R, B answers of R tokens each to one prompt of P tokens; NxBxP+R, as many to
// each of N prompts.
func parseShape(s string) (shape, error) {
	m := shapePattern.FindStringSubmatch(s)
	if m == nil || m[2] != "" && m[4] != "+" {
		return shape{}, fmt.Errorf("%q is not BATCHxLENGTH, BATCHxLOW-HIGH, BATCHxPROMPT+RESPONSE or PROMPTSxANSWERSxPROMPT+RESPONSE", s)
	}
	first, second := number(m[3]), number(m[5])
	b := shape{name: s, batch: number(m[1]), low: first, length: first, answers: 1}
	switch m[4] {
	case "-":
		b.length = second
	case "+":
		b.shared, b.answers = first, b.batch
		if m[2] != "" {
			b.answers = number(m[2])
			b.batch *= b.answers
		}
		b.low, b.length = first+second, first+second
	}
	if b.batch < 1 || first < 1 || b.length < b.low || m[4] == "+" && second < 1 {
		return shape{}, fmt.Errorf("%q: want at least one sequence, one token and one token of a response, and LOW up to HIGH", s)
	}
	return b, nil
}

// number reads up to six digits; no digits are 0.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// sequences returns the batch, the same for the same shape.
func (b *shape) sequences(m model.Model) []model.Sequence {
	rnd := rand.New(rand.NewPCG(1, 2))
	out := make([]model.Sequence, b.batch)
	for i := range out {
		n := b.low + rnd.IntN(b.length-b.low+1)
		ids := make([]int32, n)
		for j := range ids {
			ids[j] = rnd.Int32N(int32(m.Network().Vocab))
		}
		if i%b.answers > 0 {
			copy(ids, out[i-i%b.answers].IDs[:min(n, b.shared)])
		}
		out[i] = model.Sequence{IDs: ids, Read: []int32{0}}
		if m.Network().Causal {
			out[i].Read[0] = int32(n - 1)
		}
	}
	return out
}
