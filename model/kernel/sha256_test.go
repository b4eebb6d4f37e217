package kernel

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// randomTexts returns texts of given lengths, each at its own alignment.
func randomTexts(r *rand.Rand, lengths ...int) [][]byte {
	var texts [][]byte
	for i, n := range lengths {
		b := make([]byte, i%9+n)
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		texts = append(texts, b[i%9:])
	}
	return texts
}

func TestSHA256(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		check := func(t *testing.T, lengths ...int) {
			texts := randomTexts(r, lengths...)
			want, sums := make([][sha256.Size]byte, len(texts)), make([][sha256.Size]byte, len(texts))
			for i, b := range texts {
				want[i] = sha256.Sum256(b)
			}
			SHA256(sums, texts)
			require.Equal(t, want, sums, "%v", lengths)
			clear(sums)
			h := sha256Run{sums: sums, texts: texts} // whether or not it pays
			h.all()
			require.Equal(t, want, sums, "in lanes, %v", lengths)
		}
		for n := range 3*64 + 2 {
			check(t, n)
			check(t, n, n, n, n, n, n, n, n)
		}
		for texts := range 40 {
			lengths := make([]int, texts)
			for i := range lengths {
				lengths[i] = r.IntN(2) * r.IntN(3000)
			}
			check(t, lengths...)
		}
		check(t, 1<<16, 0, 1<<16, 64, 1<<17, 1<<16, 55, 56, 1<<16, 1<<16, 1<<16, 1<<16+1)
	})
	assert.Panics(t, func() { SHA256(nil, make([][]byte, 1)) })
}

func BenchmarkSHA256(b *testing.B) {
	for _, n := range []int{1, 8, 16} {
		for _, l := range Available() {
			b.Run(fmt.Sprintf("%d/%v", n, l), func(b *testing.B) {
				defer SetLevel(l)()
				texts, sums := make([][]byte, n), make([][sha256.Size]byte, n)
				for i := range texts {
					texts[i] = make([]byte, 1<<19)
				}
				b.SetBytes(int64(n) << 19)
				for b.Loop() {
					h := sha256Run{sums: sums, texts: texts}
					h.all()
				}
			})
		}
	}
	b.Run("one after the other", func(b *testing.B) {
		text := make([]byte, 1<<19)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			sha256.Sum256(text)
		}
	})
}
