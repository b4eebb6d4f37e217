package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/bench"
	"github.com/warmserve/warmserve/cmd/warm/load"
)

func TestBenchLoadMeasuresAServer(t *testing.T) {
	s := startServe(t, "--model", "m="+tinyModel(t, "one", nil))
	code, stdout, stderr := command(t, "", "bench", "load", "--url", s.url, "--clients", "8", "--duration", "300ms", "--warmup", "50ms",
		"--prompt", "uniform:1-4", "--answer", "2", "--answers", "2", "--new-connections", "--json")
	require.Equal(t, exitOK, code, stderr)
	var r load.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	assert.Zero(t, r.Failed, "%v %s", r.Total.Statuses, r.Example)
	assert.Positive(t, r.TokensPerS)
	assert.Positive(t, r.Latency.P99)

	// What the generator counts is what the server counts.
	served := scrape(t, s.url)
	assert.EqualValues(t, r.Total.Requests, served[`warm_requests_total{route="/v1/reward",status="200"}`])
	assert.EqualValues(t, r.Total.Answers, served[`warm_sequences_total{model="m"}`])
	assert.EqualValues(t, r.Total.Tokens, served[`warm_tokens_total{model="m"}`])
	assert.EqualValues(t, r.Total.Requests, r.Connections)

	code, stdout, _ = command(t, "", "bench", "load", "--url", s.url, "--clients", "2", "--duration", "50ms", "--warmup", "0", "--ids", "100000")
	assert.Equal(t, exitFailure, code, "nothing was answered: the ids are outside the vocabulary")
	assert.Contains(t, stdout, "answers 400")
}

func TestBenchLoadRefusesOtherMachinesAndNonsense(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", exitUsage, "url"},
		{"--url http://192.0.2.1", exitFailure, "--i-own-this-host"},
		{"--url http://127.0.0.1:1 --dialect grpc", exitUsage, `"grpc"`},
		{"--url http://127.0.0.1:1 --prompt much", exitUsage, "--prompt"},
		{"--url http://127.0.0.1:1 --duration 10ms --warmup 0 --clients 1", exitFailure, "connection refused"},
	} {
		code, _, stderr := command(t, "", append([]string{"bench", "load"}, strings.Fields(c.args)...)...)
		assert.Equal(t, c.code, code, c.args)
		assert.Contains(t, stderr, c.want)
	}
}

// scrape reads a server's metrics that have a value, by name and labels.
func scrape(t testing.TB, url string) map[string]float64 {
	r, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	defer r.Body.Close()
	out, err := bench.ParseMetrics(r.Body)
	require.NoError(t, err)
	return out
}
