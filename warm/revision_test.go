package warm

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARevisionIsThatOfTheContent(t *testing.T) {
	w := map[string][]float32{"a": {1, 2, 3}, "b": make([]float32, 70000)}
	revision := func(w map[string][]float32, files map[string][]byte) string {
		r, err := RevisionOf(build(t, "{}", w, nil), files, 2)
		require.NoError(t, err)
		return r
	}
	want := revision(w, nil)
	assert.Regexp(t, "^sha256:[0-9a-f]{64}$", want)
	assert.Equal(t, want, revision(w, nil))
	assert.NotEqual(t, want, revision(map[string][]float32{"a": {1, 2, 3}, "c": w["b"]}, nil), "a name shows")
	assert.NotEqual(t, want, revision(map[string][]float32{"a": {1, 2, math.Nextafter32(3, 4)}, "b": w["b"]}, nil), "a bit shows")
	assert.NotEqual(t, want, revision(map[string][]float32{"a": w["a"], "b": w["b"][1:]}, nil), "a length shows")
	assert.NotEqual(t, want, revision(w, map[string][]byte{"config.json": nil}), "a file shows")
	// Neither the order nor the pieces show.
	var r Revision
	b := r.Tensor("b", []int{1, 70000})
	for at := 0; at < 70000; at += 7000 {
		b.Write(w["b"][at : at+7000])
	}
	require.NoError(t, b.Close())
	a := r.Tensor("a", []int{1, 3})
	a.Write(w["a"])
	require.NoError(t, a.Close())
	assert.Equal(t, want, r.String())
	// The shape shows.
	var other Revision
	for name, v := range w {
		h := other.Tensor(name, []int{len(v)})
		h.Write(v)
		require.NoError(t, h.Close())
	}
	assert.NotEqual(t, want, other.String())
}

func TestRevisionsRefuseHalfTensorsAndDuplicates(t *testing.T) {
	var r Revision
	h := r.Tensor("a", []int{2})
	h.Write([]float32{1})
	assert.ErrorIs(t, h.Close(), ErrRevision)
	h.Write([]float32{2})
	require.NoError(t, h.Close())
	assert.ErrorIs(t, h.Close(), ErrRevision)
	require.NoError(t, r.File("a", nil), "a file may have the name of a tensor")
	assert.ErrorIs(t, r.File("a", nil), ErrRevision)
	_, err := RevisionOf(nil, nil, 0)
	assert.ErrorIs(t, err, ErrRevision)
}
