package lab

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/disk"
)

// TestTheSummarySaysWhatWasNotRun has one laboratory with a result of one experiment and one without any.
func TestTheSummarySaysWhatWasNotRun(t *testing.T) {
	found := &Findings{
		Verdicts: []Verdict{{Claim: "gold: A wins", Seen: Seen, Figures: "+1 [0, 2]"}, {Claim: "votes: A wins", Seen: Unclear, Figures: "+0 | [−1, 1]"}},
		Tables:   []Table{{Name: "t", Columns: []string{"method", "near"}, Rows: [][]string{{"WA", "85.1 [82.0, 88.0]"}, {"ENS", "84.9 [80.0, 88.0]"}}}},
	}
	all := []*Experiment{{Name: "one", Analyse: func([]byte) (*Findings, error) { return found, nil }}, {Name: "two"}}
	dir := t.TempDir()
	text, err := json.Marshal(&Result{Experiment: "one", Size: Standard, Base: "sha256:abc", Machine: "here", Measured: json.RawMessage(`1`), Findings: found})
	require.NoError(t, err)
	require.NoError(t, disk.Write(filepath.Join(dir, "one.json"), text))
	cell := func(row string) *Cell { return &Cell{Table: "t", Row: row, Column: "near", Want: 85} }
	observations := []Observation{
		{Experiment: "one", Number: "H1a", Says: "A wins", Paper: "figure 1", Claim: regexp.MustCompile("A wins$")},
		{Experiment: "one", Says: "B wins", Paper: "figure 2", Claim: regexp.MustCompile("B wins$")},
		{Experiment: "two", Says: "C wins", Paper: "figure 3", Claim: regexp.MustCompile("C wins$")},
		{Experiment: "one", Says: "WA is at 85", Paper: "ours", Cell: cell("WA")},
		{Experiment: "one", Says: "ENS is at 85", Paper: "ours", Cell: cell("ENS")},
		{Experiment: "one", Says: "ENS costs", Paper: "more", Cell: &Cell{Table: "t", Row: "ENS", Column: "near"}},
	}
	page, err := Summary([]Summarised{{"MiniLM", dir}, {"SmolLM2", filepath.Join(dir, "none")}}, all, observations)
	require.NoError(t, err)
	const head = "| paper's observation | paper's figure | seen here | verdict |\n| --- | --- | --- | --- |\n"
	assert.Equal(t, "## MiniLM\n\nSize standard, base sha256:abc, here.\n\n"+head+
		"| H1a: gold: A wins | figure 1 | +1 [0, 2] | seen |\n| H1a: votes: A wins | figure 1 | +0 \\| [−1, 1] | unclear |\n"+
		"| B wins | figure 2 | – | not run |\n| C wins | figure 3 | – | not run |\n"+
		"| WA is at 85 | ours | 85.1 [82.0, 88.0] % | reached |\n| ENS is at 85 | ours | 84.9 [80.0, 88.0] % | not reached |\n"+
		"| ENS costs | more | 84.9 [80.0, 88.0] | measured |\n\n"+
		"## SmolLM2\n\nNo experiment has a result yet.\n\n"+head+
		"| H1a: A wins | figure 1 | – | not run |\n| B wins | figure 2 | – | not run |\n| C wins | figure 3 | – | not run |\n"+
		"| WA is at 85 | ours | – | not run |\n| ENS is at 85 | ours | – | not run |\n| ENS costs | more | – | not run |\n\n", string(page))
	_, err = Summary([]Summarised{{"MiniLM", dir}}, all, []Observation{{Experiment: "one", Cell: &Cell{Table: "t", Row: "other", Column: "near"}}})
	assert.ErrorContains(t, err, `no row "other"`)
}
