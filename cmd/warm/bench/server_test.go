package bench

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMetricsAreReadByNameAndLabels(t *testing.T) {
	m, err := ParseMetrics(strings.NewReader("# HELP a b c\na{x=\"y z\"} 3\na{x=\"w\"} 1e2\nb NaN\n\n"))
	require.NoError(t, err)
	assert.Equal(t, 3.0, m[`a{x="y z"}`])
	before := map[string]float64{`warm_batch_seconds_sum{lane="m"}`: 1, "warm_batch_tokens_sum": 10}
	after := map[string]float64{`warm_batch_seconds_sum{lane="m"}`: 3, `warm_batch_seconds_sum{lane="n"}`: 4, "warm_batch_tokens_sum": 30, "process_resident_memory_bytes": 5}
	assert.Equal(t, serverWindow{Tokens: 20, ComputeSeconds: 6, RSSBytes: 5}, window(before, after))
	_, err = ParseMetrics(strings.NewReader("a x\n"))
	assert.ErrorContains(t, err, `"a x"`)
}
