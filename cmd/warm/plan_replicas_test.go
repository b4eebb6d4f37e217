//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/plan"
)

// planVariable asks for the test of a plan against real replicas, which wants the machine
// to itself for two and a half minutes.
const planVariable = "WARM_PLAN"

// The load of that test, and how far the plan may be from what is measured.
const (
	planClients = 12
	planWarmup  = 5 * time.Second
	planWindow  = 60 * time.Second
	planWithin  = 0.2
)

// planGroup is the n-th group of the load: 4 answers of 16 to 64 tokens to a prompt of 32 to 96.
func planGroup(n int) plan.Group {
	rnd := rand.New(rand.NewPCG(uint64(n), 7))
	g := plan.Group{Prompt: 32 + rnd.IntN(65)}
	for range 4 {
		g.Answers = append(g.Answers, 16+rnd.IntN(49))
	}
	return g
}

// planBody is a group as a request. No two have a token in common where they begin, so that
// only what a group has in common is computed once.
func planBody(t *testing.T, n int, g plan.Group) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), 8))
	ids := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = rnd.Int32N(32000)
		}
		return out
	}
	prompt := ids(g.Prompt)
	var inputs []any
	for _, a := range g.Answers {
		inputs = append(inputs, map[string]any{"input_ids": append(slices.Clone(prompt), ids(a)...)})
	}
	body, err := json.Marshal(map[string]any{"inputs": inputs})
	require.NoError(t, err)
	return body
}

// planFleet is replicas of random weights behind HAProxy.
type planFleet struct {
	fleet
	next atomic.Int64 // group
}

// ask sends the n-th group and returns how long that took.
func (f *planFleet) ask(t *testing.T, client *http.Client, id string, n int, g plan.Group) time.Duration {
	body := planBody(t, n, g)
	r, err := http.NewRequest(http.MethodPost, f.url+"/v1/reward", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Request-Id", id)
	start := time.Now()
	answer, err := client.Do(r)
	if !assert.NoError(t, err) {
		return 0
	}
	text, err := io.ReadAll(answer.Body)
	took := time.Since(start)
	answer.Body.Close()
	assert.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.StatusCode, "%s", text)
	return took
}

// closed sends groups from clients that wait for their answers, and returns what came of
// those that were answered in the window.
func (f *planFleet) closed(t *testing.T, clients int, warmup, window time.Duration) plan.Outcome {
	var mu sync.Mutex
	var times []time.Duration
	tokens := 0
	from := time.Now().Add(warmup)
	to := from.Add(window)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for time.Now().Before(to) {
				n := int(f.next.Add(1))
				g := planGroup(n)
				took := f.ask(t, client, fmt.Sprint("load-", n), n, g)
				if now := time.Now(); now.After(from) && now.Before(to) {
					mu.Lock()
					times, tokens = append(times, took), tokens+g.Tokens()
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(times)
	return plan.Outcome{Groups: len(times), TokensPerSecond: float64(tokens) / window.Seconds(),
		P50: plan.Quantile(times, 0.5), P99: plan.Quantile(times, 0.99)}
}

var computedLine = regexp.MustCompile(`msg=request id=(alone-\S+) .*compute_seconds=(\S+)`)

// service measures the only replica: the time of a batch by its tokens, from groups that
// come alone, and what a request takes beside it.
func (f *planFleet) service(t *testing.T) (s plan.Service, front time.Duration) {
	type point struct {
		computed       int
		total, compute time.Duration
	}
	points := map[string]*point{}
	for round := range 12 {
		for answers := 1; answers <= 32; answers *= 2 {
			g := plan.Group{Prompt: 64}
			for range answers {
				g.Answers = append(g.Answers, 40)
			}
			id := fmt.Sprintf("alone-%d-%d", answers, round)
			took := f.ask(t, http.DefaultClient, id, 1_000_000+100*round+answers, g)
			points[id] = &point{computed: 64 + 40*answers, total: took}
		}
	}
	require.Eventually(t, func() bool {
		found := computedLine.FindAllStringSubmatch(f.replicas[0].stderr.String(), -1)
		for _, m := range found {
			seconds, err := strconv.ParseFloat(m[2], 64)
			require.NoError(t, err)
			points[m[1]].compute = time.Duration(seconds * float64(time.Second))
		}
		return len(found) == len(points)
	}, 5*time.Second, 10*time.Millisecond)
	// Of each size the median, then the line of least squares in relative terms.
	bySize := map[int][]*point{}
	for _, p := range points {
		bySize[p.computed] = append(bySize[p.computed], p)
	}
	var fronts []time.Duration
	var w, wx, wy, wxx, wxy float64
	for computed, all := range bySize {
		slices.SortFunc(all, func(a, b *point) int { return int(a.compute - b.compute) })
		y, x := all[len(all)/2].compute.Seconds(), float64(computed)
		k := 1 / (y * y)
		w, wx, wy, wxx, wxy = w+k, wx+k*x, wy+k*y, wxx+k*x*x, wxy+k*x*y
		for _, p := range all {
			fronts = append(fronts, p.total-p.compute)
		}
	}
	token := (w*wxy - wx*wy) / (w*wxx - wx*wx)
	s.Token = time.Duration(token * float64(time.Second))
	s.Batch = time.Duration(max(0, (wy-token*wx)/w) * float64(time.Second))
	slices.Sort(fronts)
	return s, plan.Quantile(fronts, 0.5)
}

// TestPlanAgreesWithThreeReplicas predicts three replicas on this machine from one of them
// alone, and measures them.
func TestPlanAgreesWithThreeReplicas(t *testing.T) {
	if os.Getenv(planVariable) == "" {
		t.Skipf("%s is not set: 1 to hold a plan against three replicas, on a machine that does nothing else", planVariable)
	}
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skipf("no HAProxy on this machine (Debian's package haproxy): %v", err)
	}
	f := &planFleet{fleet: fleet{t: t, balancer: &output{}}}
	free := freeAddresses(t, 4)
	environment := []string{"WARM_LISTEN=" + free[3]}
	f.url = "http://" + free[3]
	for i, addr := range free[:3] {
		f.args = append(f.args, []string{"--addr", addr, "--device", "cpu", "--dtype", "bfloat16",
			"--model", "m=random:" + filepath.Join("testdata", "dec12x768.json")})
		f.replicas = append(f.replicas, nil)
		environment = append(environment, fmt.Sprintf("WARM_REPLICA_%d=%s", i+1, addr))
	}
	f.start(0)
	f.balance(haproxy, environment)
	for i := 1; i < 3; i++ {
		f.told(t, i, "DOWN", 0) // until then it takes them for good, and gives them requests
	}
	f.closed(t, 1, 2*time.Second, 0)
	service, front := f.service(t)
	// Under load the engine shares its processors with connections and clients: what that
	// costs is what one replica's throughput is below that of its service time. It is counted
	// for as long as three are: groups differ much in size, and a quarter of them was 7 % off.
	load := plan.Load{Group: planGroup, Clients: planClients / 3, Warmup: planWarmup, Window: planWindow}
	alone := f.closed(t, load.Clients, load.Warmup, load.Window)
	ideal := plan.Simulate(plan.Fleet{Replicas: 1, Service: service, Front: front}, load, nil, nil)
	slower := ideal.TokensPerSecond / alone.TokensPerSecond
	t.Logf("one replica: a batch takes %v and %v a computed token, a request %v beside it; %d clients: %.0f tokens/s, %.2f of the ideal",
		service.Batch, service.Token, front, load.Clients, alone.TokensPerSecond, 1/slower)
	service.Batch, service.Token = time.Duration(float64(service.Batch)*slower), time.Duration(float64(service.Token)*slower)

	load.Clients = planClients
	predicted := plan.Simulate(plan.Fleet{Replicas: 3, OneMachine: true, Service: service, Front: front}, load, nil, nil)
	for i := 1; i < 3; i++ {
		up := f.said(i, "UP")
		f.start(i)
		f.told(t, i, "UP", up)
	}
	measured := f.closed(t, load.Clients, load.Warmup, load.Window)
	t.Logf("three replicas, %d clients, %v:", load.Clients, load.Window)
	for _, o := range []struct {
		name string
		plan.Outcome
	}{{"predicted", predicted}, {"measured", measured}} {
		t.Logf("%-9s  %6.0f tokens/s  p50 %v  p99 %v  (%d groups)", o.name, o.TokensPerSecond,
			o.P50.Round(time.Millisecond), o.P99.Round(time.Millisecond), o.Groups)
	}
	assert.InEpsilon(t, measured.TokensPerSecond, predicted.TokensPerSecond, planWithin, "throughput")
	assert.InEpsilon(t, measured.P99.Seconds(), predicted.P99.Seconds(), planWithin, "p99")
}
