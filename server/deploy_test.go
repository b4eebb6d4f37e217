package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// exported is what a server that was used in every way exports: the labels of
// each metric, with the histograms' series under their own names.
func exported(t *testing.T) map[string][]string {
	cards := func() []server.Card { return []server.Card{{Name: "cuda:0"}} }
	l := startLive(t, server.Config{DriftScores: 10, Cards: cards}, nil)
	require.Equal(t, http.StatusOK, l.put("a").status)
	_, err := l.models.Swap(servertest.New("sampled", func(i *live.Info) { i.Sample = 1 }))
	require.NoError(t, err)
	for i := range 40 {
		l.post(fmt.Sprintf(`{"model":"sampled","mode":"both","inputs":[{"text":"%s"}]}`, strings.Repeat("x", 1+i*7%50))).rewards(t)
	}
	l.post(`{"model":"sampled","inputs":[{"text":"x"}]}`).rewards(t)
	l.post(`{}`)
	l.eventuallyMetric(`warm_ab_samples_total{model="sampled",outcome="scored"} 1`)
	l.server.ManifestLooked(errors.New("no manifest"))
	l.server.ConfigReloaded(nil)
	l.factory.before = func(context.Context, string, *api.ModelSpec, func(string, float64)) error { return errors.New("no") }
	require.Equal(t, http.StatusUnprocessableEntity, l.put("b").status)
	out := map[string][]string{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.Lines(string(l.get("/metrics").body)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		out[name] = []string{}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			out[name] = append(out[name], m[1])
		}
	}
	return out
}

// TestTheManifestIsMeasuredWhereOneIsWatched counts the looks that went wrong, and the time since one that did not.
func TestTheManifestIsMeasuredWhereOneIsWatched(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	value := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(l.get("/metrics").body)
		if m == nil {
			return -1
		}
		v, err := strconv.ParseFloat(string(m[1]), 64)
		require.NoError(t, err)
		return v
	}
	const wrong, age = "warm_manifest_errors_total", "warm_manifest_age_seconds"
	assert.Equal(t, []float64{-1, -1}, []float64{value(wrong), value(age)}, "no manifest, no age")
	l.server.ManifestLooked(nil)
	assert.Zero(t, value(wrong))
	for i := range 3 {
		l.server.ManifestLooked(errors.New("models: [broken"))
		assert.Equal(t, float64(i+1), value(wrong))
	}
	eventually(t, "a manifest that is wrong ages", func() bool { return value(age) > 0.3 })
	l.server.ManifestLooked(nil)
	assert.Less(t, value(age), 0.3, "and is young once it is carried out")
	assert.Equal(t, 3.0, value(wrong))
}

// selector is a metric in a query, with its label matchers.
var selector = regexp.MustCompile(`\b((?:warm|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)

// grouping is what a query sums or joins by.
var grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)

// checkQuery holds every name in a PromQL query against what is exported.
// instance and job are Prometheus' own labels.
func checkQuery(t *testing.T, metrics map[string][]string, query string) {
	t.Helper()
	names := selector.FindAllStringSubmatch(query, -1)
	assert.NotEmpty(t, names, "no metric in %s", query)
	labels := []string{"instance", "job"}
	for _, m := range names {
		known, ok := metrics[m[1]]
		if !assert.True(t, ok, "there is no metric %s: %s", m[1], query) {
			continue
		}
		labels = append(labels, known...)
		for matcher := range strings.SplitSeq(m[2], ",") {
			if name := strings.TrimRight(matcher[:strings.IndexAny(matcher+"=", "=!")], " "); name != "" {
				assert.Contains(t, known, name, "label of %s: %s", m[1], query)
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for name := range strings.SplitSeq(g[1], ",") {
			assert.Contains(t, labels, strings.TrimSpace(name), "grouping in %s", query)
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		assert.Equal(t, strings.Count(query, pair[:1]), strings.Count(query, pair[1:]), "brackets of %s", query)
	}
}

func deployFile(t *testing.T, elem ...string) []byte {
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "deploy"}, elem...)...))
	require.NoError(t, err)
	return data
}

func TestTheDashboardAndTheAlertsNameMetricsThatExist(t *testing.T) {
	metrics := exported(t)
	var dashboard struct {
		Title  string
		Panels []struct {
			ID          int
			Title, Type string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(deployFile(t, "grafana", "warmserve.json"), &dashboard))
	used := map[string]bool{}
	query := func(q string) {
		checkQuery(t, metrics, q)
		for _, m := range selector.FindAllStringSubmatch(q, -1) {
			used[m[1]] = true
		}
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		assert.False(t, ids[p.ID], "panel id %d is given twice", p.ID)
		ids[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		assert.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			query(target.Expr)
		}
	}
	for _, a := range dashboard.Annotations.List {
		query(a.Expr)
	}
	// What we export and nobody looks at is either missing here or too much there.
	for name := range metrics {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		shown := used[name] || used[base+"_bucket"] || used[base+"_sum"]
		if strings.HasPrefix(name, "warm_") && !slices.Contains([]string{"warm_reward_reference_std", "warm_reward_recent_std", "warm_reward_disagreement"}, name) {
			assert.True(t, shown, "%s is on no panel", name)
		}
	}
}

func TestTheAlertRules(t *testing.T) {
	metrics := exported(t)
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.UnmarshalWithOptions(deployFile(t, "alerts.yaml"), &rules, yaml.Strict()))
	seen := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			t.Run(r.Alert, func(t *testing.T) {
				assert.False(t, seen[r.Alert])
				seen[r.Alert] = true
				checkQuery(t, metrics, r.Expr)
				assert.Contains(t, []string{"warning", "critical"}, r.Labels["severity"])
				assert.NotEmpty(t, r.Annotations["summary"])
				assert.NotEmpty(t, r.Annotations["description"])
				assert.Regexp(t, `^$|^[0-9]+[smh]$`, r.For)
			})
		}
	}
	assert.True(t, seen["RewardHackingSuspected"])
	runbook, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	require.NoError(t, err)
	_, rows, _ := strings.Cut(string(runbook), "\n## Runbook\n")
	for name := range seen {
		assert.Contains(t, rows, "`"+name+"`", "the runbook says what to do")
	}
	codes := regexp.MustCompile(`code=~"([^"]*)"`)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			for _, m := range codes.FindAllStringSubmatch(r.Expr, -1) {
				for c := range strings.SplitSeq(m[1], "|") {
					assert.Contains(t, api.Codes(), api.Code(c))
				}
			}
		}
	}
}
