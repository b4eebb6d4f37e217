package experiments

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
)

// published is where the results that the README speaks of are kept.
var published = filepath.Join("..", "..", "..", "docs", "lab")

// publishedLabs are the directories with published results: published itself, of the base that is part of the
// program, and one below it for each other base.
func publishedLabs(t *testing.T) []string {
	files, err := filepath.Glob(filepath.Join(published, "*", packed))
	require.NoError(t, err)
	out := []string{published}
	for _, f := range files {
		out = append(out, filepath.Dir(f))
	}
	return out
}

// readPublished returns the directory of a lab with the results that are published in dir.
func readPublished(t *testing.T, dir string) string {
	content, err := os.ReadFile(filepath.Join(dir, packed))
	require.NoError(t, err)
	return unpack(t, content)
}

// measured are the experiments that a lab's directory has results of.
func measured(dir string) []*lab.Experiment {
	return slices.DeleteFunc(All(), func(e *lab.Experiment) bool {
		_, err := os.Stat(filepath.Join(dir, e.Name+".json"))
		return err != nil
	})
}

func TestPublishedReportAndFiguresAreThoseOfTheMeasurements(t *testing.T) {
	for _, dir := range publishedLabs(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r, err := lab.NewReport(readPublished(t, dir), All())
			require.NoError(t, err)
			if dir == published {
				require.Empty(t, r.Missing)
			}
			is := func(name string) string {
				text, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				return string(text)
			}
			assert.True(t, string(r.Markdown()) == is("report.md"), "report.md says other things than the results")
			drawn := 0
			for _, p := range r.Parts {
				for name, image := range figures(t, p) {
					drawn++
					assert.True(t, string(image) == is(name), "%s shows other findings", name)
				}
			}
			files, err := filepath.Glob(filepath.Join(dir, "*.svg"))
			require.NoError(t, err)
			assert.Len(t, files, drawn, "a figure that no result has")
		})
	}
}

// publishedSummary is the page of what is published of all bases.
func publishedSummary(t *testing.T) []byte {
	var labs []lab.Summarised
	for _, one := range []lab.Summarised{{Name: "MiniLM", Dir: "minilm"}, {Name: "SmolLM2", Dir: "smollm2"},
		{Name: "The base that is part of the program, 5.3 million parameters", Dir: "."}} {
		from := filepath.Join(published, one.Dir)
		if _, err := os.Stat(filepath.Join(from, packed)); err == nil {
			one.Dir = readPublished(t, from)
		} else {
			one.Dir = from // of no result
		}
		labs = append(labs, one)
	}
	page, err := Summary(labs)
	require.NoError(t, err)
	return page
}

func TestPublishedSummaryIsThatOfTheMeasurements(t *testing.T) {
	is, err := os.ReadFile(filepath.Join(published, "README.md"))
	require.NoError(t, err)
	assert.True(t, string(publishedSummary(t)) == string(is), "README.md says other things than the results")
	for _, base := range []string{"## MiniLM\n", "## SmolLM2\n"} {
		assert.Contains(t, string(is), base)
	}
}

// TestEveryObservationFindsItsVerdicts holds the claims that the summary looks for to those that are published; a policy
// was trained for that page before KL was measured, so that those at equal KL are looked for where one is trained now.
func TestEveryObservationFindsItsVerdicts(t *testing.T) {
	dir := readPublished(t, published)
	for _, o := range Observations() {
		r, err := lab.ReadResult(dir, o.Experiment)
		require.NoError(t, err)
		n := 0
		for _, v := range r.Findings.Verdicts {
			if o.Claim != nil && o.Claim.MatchString(v.Claim) {
				n++
			}
		}
		if later := strings.HasPrefix(o.Number, "H6"); o.Cell == nil {
			assert.Equal(t, later, n == 0, "%s: %d verdicts", o.Says, n)
		}
	}
}

// TestRoundingMakesNoTie: rewards that differ in their last bits stay a step apart, and margins have a sign.
func TestRoundingMakesNoTie(t *testing.T) {
	one := lab.Rewards{1.0001, 1.0001, 3, -2.71828}
	other := lab.Rewards{1.0002, 1.5001, 3, 3.14159}
	text, err := json.Marshal(map[string]any{"scored": lab.Scored{Chosen: one, Rejected: other}, "margins": lab.Rewards{1.0001, 1e-6, -1e-6, 0}})
	require.NoError(t, err)
	var got struct {
		Scored  lab.Scored  `json:"scored"`
		Margins lab.Rewards `json:"margins"`
	}
	text, err = json.Marshal(roundedAll(decoded(t, text)))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, lab.Rewards{1, 1, 3, -2.71875}, got.Scored.Chosen)
	assert.Equal(t, lab.Rewards{1 + 1./steps, 1.5, 3, 3.140625}, got.Scored.Rejected)
	assert.Equal(t, lab.Rewards{1, 1. / steps, -1. / steps, 0}, got.Margins)
	again, err := json.Marshal(roundedAll(decoded(t, text)))
	require.NoError(t, err)
	assert.Equal(t, string(text), string(again))
}

// TestPackedResultsStay: what was rounded once is not rounded again.
func TestPackedResultsStay(t *testing.T) {
	dir := readPublished(t, published)
	var results []*lab.Result
	for _, e := range measured(dir) {
		r, err := lab.ReadResult(dir, e.Name)
		require.NoError(t, err)
		results = append(results, r)
	}
	was, err := os.ReadFile(filepath.Join(published, packed))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(was, pack(t, results)))
}

// TestOtherMeasurementsGiveOtherFindings turns every reward's sign: what was
// preferred no longer is.
func TestOtherMeasurementsGiveOtherFindings(t *testing.T) {
	dir := readPublished(t, published)
	for _, e := range measured(dir) {
		if e.Name == "cost" { // which measures no rewards
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			r, err := lab.ReadResult(dir, e.Name)
			require.NoError(t, err)
			turned := 0
			v := mapRewards(decoded(t, r.Measured), func(b []byte) any {
				for i := 3; i < len(b); i += 4 {
					b[i] ^= 0x80 // the sign of a little-endian float32
				}
				turned++
				return base64.StdEncoding.EncodeToString(b)
			})
			require.NotZero(t, turned, "rewards were measured")
			r.Measured, err = json.Marshal(v)
			require.NoError(t, err)
			if _, same, err := r.Recompute(e); err == nil {
				assert.False(t, same)
			}
		})
	}
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
