package dialect_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// TestSizeBoundsWhatMetricsTake makes metrics of rollouts so short that what they become is many
// times their length.
func TestSizeBoundsWhatMetricsTake(t *testing.T) {
	const n = 1 << 12
	rows := func(row func(i int) string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ",{%s}", row(i))
		}
		return `{"verify_responses":[` + b.String()[1:] + `]}`
	}
	var wide strings.Builder
	for i := range n {
		fmt.Fprintf(&wide, `,"%x":1`, i)
	}
	long := strings.Repeat("x", 200)
	for name, body := range map[string]string{
		"tasks":       rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d`, i) }),
		"rollouts":    rows(func(int) string { return "" }),
		"numbers":     rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"a":1`, i) }),
		"several":     rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"a":1,"b":1,"c":1,"d":1`, i) }),
		"usage":       rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"response":{"usage":{"a":1}}`, i) }),
		"own names":   rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"%x":-1.2345678901234567e-300`, i, i) }),
		"other names": rows(func(i int) string { return fmt.Sprintf(`"%x":1`, i) }),
		"long names":  rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"%s":1`, i, long) }),
		"long ones":   rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"a":-1.2345678901234567e-300`, i) }),
		"escapes":     rows(func(i int) string { return fmt.Sprintf(`"_ng_task_index":%d,"%s":1`, i, strings.Repeat(`\u0001`, 40)) }),
		"wide":        `{"verify_responses":[{` + wide.String()[1:] + `}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			g, err := dialect.DecodeGymRollouts([]byte(body))
			require.NoError(t, err)
			m := g.Metrics()
			reply, err := api.Encode(m)
			require.NoError(t, err)
			runtime.GC()
			runtime.ReadMemStats(&after)
			took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			assert.LessOrEqual(t, took, g.Size())
			assert.Less(t, g.Size(), 8*took, "a bound that is of use")
			runtime.KeepAlive(g)
			runtime.KeepAlive(m)
			runtime.KeepAlive(reply)
		})
	}
}
