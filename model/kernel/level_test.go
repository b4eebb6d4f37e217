package kernel

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// eachLevel runs f once at every level this machine has, as a subtest.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			f(t)
		})
	}
}

func TestLevel(t *testing.T) {
	t.Run("the active level is the best available one that needs no asking", func(t *testing.T) {
		ls := Available()
		assert.Equal(t, min(ls[len(ls)-1], AMX), Active())
		assert.Equal(t, Generic, ls[0])
		assert.NotContains(t, ls[:len(ls)-1], AMXFloat32)
	})
	t.Run("every available level has a name that is read", func(t *testing.T) {
		for _, l := range Available() {
			got, err := ParseLevel(l.String())
			require.NoError(t, err)
			assert.Equal(t, l, got)
		}
		_, err := ParseLevel("sse")
		require.ErrorContains(t, err, `"sse" is not one of this machine's levels [generic`)
	})
	t.Run("restore undoes a choice and its features", func(t *testing.T) {
		before := active
		restore := SetLevel(Generic)
		assert.Equal(t, Generic, Active())
		assert.False(t, HasBF16())
		assert.False(t, active.vnni)
		restore()
		assert.Equal(t, before, active)
	})
	t.Run("a level beyond the processor is refused", func(t *testing.T) {
		require.Panics(t, func() { SetLevel(cpuHas.level + 1) })
	})
}
