package warm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDiagnoseTellsRelativesFromStrangers(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * 0.02)
		}
		return v
	}
	child := func(v []float32) []float32 {
		out := make([]float32, len(v))
		for i := range v {
			out[i] = v[i] + float32(rng.NormFloat64()*0.002)
		}
		return out
	}
	const n = 3 * diagnosedValues
	body, small, head := draw(n), draw(64), draw(64)
	member := func(name string, body, head []float32) Member {
		return Member{Name: name, Checkpoint: build(t, "{}", map[string][]float32{"body": body, "small": child(small), "score.weight": head}, nil)}
	}
	a := member("a", child(body), child(head))
	b := member("b", child(body), child(head))
	otherHead := member("head", child(body), draw(64))
	stranger := member("stranger", draw(n), child(head))

	t.Run("relatives", func(t *testing.T) {
		d, err := Diagnose([]Member{b, a})
		require.NoError(t, err)
		assert.Empty(t, d.Warnings)
		assert.Equal(t, []string{"body", "small"}, d.Tensors, "the largest first, without the head")
		require.Len(t, d.Pairs, 1)
		p := d.Pairs[0]
		assert.Equal(t, [2]string{"a", "b"}, [2]string{p.A, p.B})
		// Noise of a tenth on both: cosine 1/1.01, distance √(0.02/1.01).
		assert.InDelta(t, 1/1.01, p.Cosine, 0.001)
		assert.InDelta(t, math.Sqrt(0.02/1.01), p.Distance, 0.005)
	})
	t.Run("a stranger", func(t *testing.T) {
		d, err := Diagnose([]Member{a, stranger})
		require.NoError(t, err)
		require.Len(t, d.Warnings, 1)
		assert.Equal(t, WarnUnrelated, d.Warnings[0].Kind)
		assert.Equal(t, "body", d.Pairs[0].Tensor)
	})
	t.Run("another head", func(t *testing.T) {
		d, err := Diagnose([]Member{a, otherHead})
		require.NoError(t, err)
		require.Len(t, d.Warnings, 1)
		assert.Equal(t, WarnHeads, d.Warnings[0].Kind)
	})
	t.Run("a copy", func(t *testing.T) {
		d, err := Diagnose([]Member{a, {Name: "copy", Checkpoint: a.Checkpoint}, b})
		require.NoError(t, err)
		require.Len(t, d.Warnings, 1)
		assert.Equal(t, Warning{Kind: WarnDuplicate, Members: []string{"a", "copy"}, Detail: "all tensors are equal"}, d.Warnings[0])
	})
	t.Run("members that differ behind the first bytes are no copies", func(t *testing.T) {
		late := append([]float32(nil), body...)
		late[len(late)-1]++
		d, err := Diagnose([]Member{
			{Name: "x", Checkpoint: build(t, "{}", map[string][]float32{"w": body}, nil)},
			{Name: "y", Checkpoint: build(t, "{}", map[string][]float32{"w": late}, nil)}})
		require.NoError(t, err)
		assert.Empty(t, d.Warnings)
	})
}
