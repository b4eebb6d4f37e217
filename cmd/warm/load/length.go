package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Length is a distribution of lengths, in tokens or words. Its zero value is
// the length 0.
type Length struct {
	kind string // "fixed", "uniform" or "lognormal"
	a, b float64
}

// maxLength bounds what is drawn: longer than any context.
const maxLength = 1 << 20

// ParseLength reads "400", "uniform:16-128" or "lognormal:50,0.6" (median and
// the standard deviation of the logarithm).
func ParseLength(s string) (Length, error) {
	kind, args, ok := strings.Cut(s, ":")
	sep := map[string]string{"uniform": "-", "lognormal": ","}[kind]
	if !ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > maxLength {
			return Length{}, fmt.Errorf("length %q: want a number from 0 to %d, uniform:A-B or lognormal:MEDIAN,SIGMA", s, maxLength)
		}
		return Length{"fixed", float64(n), 0}, nil
	}
	left, right, two := strings.Cut(args, sep)
	if sep == "" || !two {
		return Length{}, fmt.Errorf("length %q: want a number, uniform:A-B or lognormal:MEDIAN,SIGMA", s)
	}
	a, errA := strconv.ParseFloat(left, 64)
	b, errB := strconv.ParseFloat(right, 64)
	switch {
	case errA != nil || errB != nil || !(a >= 1) || !(a <= maxLength) || !(b >= 0) || !(b <= maxLength):
		return Length{}, fmt.Errorf("length %q: want numbers from 1 to %d", s, maxLength)
	case kind == "uniform" && (b < a || a != math.Trunc(a) || b != math.Trunc(b)):
		return Length{}, fmt.Errorf("length %q: want whole numbers, the smaller one first", s)
	}
	return Length{kind, a, b}, nil
}

// String returns what ParseLength reads.
func (l Length) String() string {
	switch l.kind {
	case "uniform":
		return fmt.Sprintf("uniform:%g-%g", l.a, l.b)
	case "lognormal":
		return fmt.Sprintf("lognormal:%g,%g", l.a, l.b)
	}
	return fmt.Sprintf("%g", l.a)
}

// draw returns a length, at least 1 unless the length is fixed at 0.
func (l Length) draw(rng *rand.Rand) int {
	switch l.kind {
	case "uniform":
		return int(l.a) + rng.IntN(int(l.b-l.a)+1)
	case "lognormal":
		return int(max(1, min(maxLength, math.Round(l.a*math.Exp(l.b*rng.NormFloat64())))))
	}
	return int(l.a)
}

// Fixed is the length n, from 0 to that of the longest context.
func Fixed(n int) Length { return Length{kind: "fixed", a: float64(n)} }
