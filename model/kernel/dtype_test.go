package kernel

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDType(t *testing.T) {
	for _, d := range []DType{Float32, BFloat16, Int8} {
		got, err := ParseDType(d.String())
		require.NoError(t, err)
		assert.Equal(t, d, got)
	}
	_, err := ParseDType("float16")
	assert.ErrorContains(t, err, `"float16"`)
}
