package experiments

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
)

// published is where the results that the README speaks of are kept.
var published = filepath.Join("..", "..", "..", "deploy", "lab", "results")

// readPublished returns the published result of an experiment, or skips the test.
func readPublished(t *testing.T, e *lab.Experiment) *lab.Result {
	r, err := lab.ReadResult(published, e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no result of %s was published", e.Name)
	}
	require.NoError(t, err)
	return r
}

func TestPublishedFindingsAreThoseOfTheirMeasurements(t *testing.T) {
	for _, e := range All() {
		t.Run(e.Name, func(t *testing.T) {
			r := readPublished(t, e)
			f, same, err := r.Recompute(e)
			require.NoError(t, err)
			if !same {
				is, want := indented(t, r.Findings), indented(t, f)
				assert.Equal(t, want, is, `"warm lab report --out deploy/lab/results" computes the findings again`)
			}
		})
	}
}

func indented(t *testing.T, v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return string(text)
}

func TestPublishedReportIsThatOfTheResults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(published, "report.md"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no report was published")
	}
	require.NoError(t, err)
	r, err := lab.NewReport(published, All())
	require.NoError(t, err)
	assert.Equal(t, string(r.Markdown()), string(text))
}

// TestOtherMeasurementsGiveOtherFindings turns every reward's sign: what was
// preferred no longer is.
func TestOtherMeasurementsGiveOtherFindings(t *testing.T) {
	for _, e := range All() {
		t.Run(e.Name, func(t *testing.T) {
			r := readPublished(t, e)
			var v any
			require.NoError(t, json.Unmarshal(r.Measured, &v))
			turned := 0
			v = turnRewards(v, &turned)
			require.NotZero(t, turned, "rewards were measured")
			var err error
			r.Measured, err = json.Marshal(v)
			require.NoError(t, err)
			if _, same, err := r.Recompute(e); err == nil {
				assert.False(t, same)
			}
		})
	}
}

// turnRewards multiplies all rewards in a JSON value by −1.
func turnRewards(v any, n *int) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = turnRewards(v[k], n)
		}
	case []any:
		for i := range v {
			v[i] = turnRewards(v[i], n)
		}
	case string:
		raw, err := base64.StdEncoding.DecodeString(v)
		if err != nil || len(raw) < 16 || len(raw)%4 != 0 { // a word of eight letters is no reward
			return v
		}
		for i := 3; i < len(raw); i += 4 {
			raw[i] ^= 0x80 // the sign of a little-endian float32
		}
		*n++
		return base64.StdEncoding.EncodeToString(raw)
	}
	return v
}

func FuzzDamagedMeasurements(f *testing.F) {
	for i := range All() {
		f.Add(uint8(i), []byte(`{}`))
		f.Add(uint8(i), []byte(`null`))
		f.Add(uint8(i), []byte(`{"settings":{"m":2},"proxies":[{"members":[{"samples":"AACAPw=="}],"averages":[{"of":[7]}]}],"samples":1,"n":[1],"fronts":[{}],"pairs":-1}`))
	}
	f.Fuzz(func(t *testing.T, i uint8, measured []byte) {
		all := All()
		e := all[int(i)%len(all)]
		r := &lab.Result{Experiment: e.Name, Measured: measured, Findings: &lab.Findings{}}
		if found, _, err := r.Recompute(e); err == nil {
			assert.NotNil(t, found)
		}
	})
}
