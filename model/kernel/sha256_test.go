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

// sumsOf hashes texts in the lanes of h, in parts of up to most bytes: a lane that has come to the
// end of its text takes the next.
func sumsOf(h *SHA256Texts, lanes int, r *rand.Rand, most int, texts [][]byte) [][sha256.Size]byte {
	sums := make([][sha256.Size]byte, len(texts))
	of, rest, parts := make([]int, lanes), make([][]byte, lanes), make([][]byte, lanes)
	next, busy := 0, make([]bool, lanes)
	for {
		left := false
		for i := range of {
			for len(rest[i]) < sha256.BlockSize {
				if busy[i] {
					sums[of[i]] = h.Sum(i, rest[i])
				}
				rest[i] = nil
				if busy[i] = next < len(texts); !busy[i] {
					break
				}
				of[i], rest[i] = next, texts[next]
				next++
			}
			parts[i] = rest[i]
			if n := max(sha256.BlockSize, r.IntN(most)); busy[i] && n < len(rest[i]) {
				parts[i] = rest[i][:n]
			}
			left = left || busy[i]
		}
		if !left {
			return sums
		}
		n := h.Add(parts)
		for i := range rest {
			rest[i] = rest[i][min(n, len(rest[i])):]
		}
	}
}

func TestSHA256(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		check := func(t *testing.T, lengths ...int) {
			texts := randomTexts(r, lengths...)
			want := make([][sha256.Size]byte, len(texts))
			for i, b := range texts {
				want[i] = sha256.Sum256(b)
			}
			for _, lanes := range []int{1, sha256Lanes} {
				h := NewSHA256Texts(lanes)
				for range 2 {
					require.Equal(t, want, sumsOf(h, lanes, r, 5000, texts), "in %d lanes, %v", lanes, lengths)
				}
			}
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
	assert.Panics(t, func() { NewSHA256Texts(3) })
}

func BenchmarkSHA256(b *testing.B) {
	for _, n := range []int{1, 8, 16} {
		for _, l := range Available() {
			b.Run(fmt.Sprintf("%d/%v", n, l), func(b *testing.B) {
				defer SetLevel(l)()
				h, parts := NewSHA256Texts(sha256Lanes), make([][]byte, sha256Lanes)
				for i := range n {
					parts[i] = make([]byte, 1<<16)
				}
				b.SetBytes(int64(n) << 16)
				for b.Loop() {
					h.Add(parts)
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
