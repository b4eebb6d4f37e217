package loader

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAdapterIsTheMergedModelOfPEFT(t *testing.T) {
	got, err := Open(shared(t, "goldens", "lora", "adapter"))
	require.NoError(t, err)
	defer got.Close()
	want, err := Open(shared(t, "goldens", "lora", "merged"))
	require.NoError(t, err)
	defer want.Close()
	require.Equal(t, want.Names(), got.Names())
	for _, n := range want.Names() {
		x, y := values(t, want, n), values(t, got, n)
		for i := range x {
			if x[i] != y[i] {
				t.Errorf("%s[%d]: %x want %x", n, i, math.Float32bits(y[i]), math.Float32bits(x[i]))
			}
		}
	}
	assert.JSONEq(t, string(want.Config), string(got.Config))
}
