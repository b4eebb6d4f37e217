package plan_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/plan"
)

// dense is a model of so many parameters, each a multiply-add a token.
func dense(parameters float64) plan.Model {
	return plan.Model{Name: "dense", Parameters: parameters, Shares: true,
		FLOPs: func(tokens int) float64 { return 2 * parameters * float64(tokens) }}
}

func wish(parameters float64, device string) plan.Wish {
	d, err := plan.DeviceNamed(device)
	if err != nil {
		panic(err)
	}
	return plan.Wish{Model: dense(parameters), Device: d, Tokens: 100_000, Answers: 8, Prompt: 256, Response: 512, Units: 1, Load: 0.7,
		Spare: 1, GPUTokens: 2500, Members: 4, Network: 3e9, Storage: 10e9, Seed: 1}
}

func made(t *testing.T, w plan.Wish) *plan.Report {
	r, err := plan.Make(w)
	require.NoError(t, err)
	return r
}

// The figures that the plan is made from come out where they went in.
func TestThePlanSaysWhatWasMeasured(t *testing.T) {
	for _, c := range []struct {
		name, device             string
		parameters, flops, token float64 // FLOPs of a token, tokens/s measured
	}{
		{"Qwen3-0.6B over HTTP on the H200", "h200", 0.6e9, 0.9104e9, 546_738},
		{"Llama-3.1-8B over HTTP on the H200", "h200", 7.5e9, 13.671e9, 46_948},
		{"Qwen3-0.6B on a core, float32", "zen5-f32", 0.6e9, 0.9103e9, 483.0 / 2},
		{"Qwen3-0.6B on a core, bfloat16", "zen5-bf16", 0.6e9, 0.9103e9, 911.0 / 2},
		{"Qwen3-0.6B on a core, int8", "zen5-int8", 0.6e9, 0.9103e9, 1631.0 / 2},
		{"the decoder 12×768 on a core, bfloat16", "zen5-bf16", 0.11e9, 0.1668e9, 4901.0 / 2},
		{"the decoder 12×768 on a core with AMX", "amx-bf16", 0.11e9, 0.1603e9, 3608.0 / 2},
	} {
		w := wish(c.parameters, c.device)
		w.Model.FLOPs = func(tokens int) float64 { return c.flops * float64(tokens) }
		w.Answers, w.Prompt, w.Response, w.Tokens = 1, 0, 512, c.token/10
		assert.InEpsilon(t, c.token, made(t, w).Capacity.UnitTokens, 0.03, c.name)
	}
}

func TestAPromptInCommonIsComputedOnce(t *testing.T) {
	w := wish(1e9, "h200")
	assert.InEpsilon(t, 2e9*(256+8*512)/(8*768), made(t, w).Capacity.FLOPsPerToken, 1e-9)
	w.Model.Shares = false
	assert.InEpsilon(t, 2e9, made(t, w).Capacity.FLOPsPerToken, 1e-9)
}

func TestReplicasCarryTheLoad(t *testing.T) {
	for _, device := range []string{"h200", "zen5-bf16"} {
		w := wish(7e9, device)
		w.Tokens = 1000
		capacity := made(t, w).Capacity.UnitTokens
		w.Tokens = 3 * capacity
		r := made(t, w)
		assert.GreaterOrEqual(t, float64(r.Replicas-w.Spare)*r.Capacity.ReplicaTokens*w.Load, w.Tokens*(1-1e-9), device)
		require.Len(t, r.Queue, 3)
		for _, q := range r.Queue {
			assert.Positive(t, q.P50, device)
			assert.LessOrEqual(t, q.P50, q.P99)
		}
		assert.InEpsilon(t, w.Tokens, r.Queue[0].TokensPerSecond, 0.1, "%s: what comes is answered", device)
		assert.InEpsilon(t, w.Tokens, r.Queue[2].TokensPerSecond, 0.1, "%s: with one lost, too", device)
	}
	few, many := wish(7e9, "h200"), wish(7e9, "h200")
	many.Tokens *= 20
	assert.Greater(t, made(t, many).Replicas, 5*made(t, few).Replicas)
}

func TestTheSimulatedQueueDecidesWhereGroupsAreDivided(t *testing.T) {
	r := made(t, wish(70e9, "h200"))
	alone := math.Ceil(100_000 / (r.Capacity.ReplicaTokens * 0.7))
	assert.Greater(t, float64(r.Replicas-1), alone, "batches of a quarter of a second hold no whole group of a model so slow")
	assert.InEpsilon(t, 100_000, r.Queue[0].TokensPerSecond, 0.1)
}

func TestGPUsOfARunSayTheLoad(t *testing.T) {
	w := wish(1e9, "h100")
	w.Tokens, w.GPUs, w.GPUTokens = 0, 64, 1000
	assert.InEpsilon(t, 64*1000*768.0/512, made(t, w).TokensPerSecond, 1e-9, "each answer with its prompt")
}

func TestASwapOf70BOnAHundredReplicas(t *testing.T) {
	w := wish(70e9, "h200")
	w.Replicas = 100
	s := made(t, w).Swap
	assert.Equal(t, 140e9, s.Bytes)
	assert.Equal(t, plan.Moved{PerReplica: 140e9, Together: 14e12, Seconds: 1400, Bound: "storage"}, s.Once)
	assert.Equal(t, plan.Moved{PerReplica: 560e9, Together: 56e12, Seconds: 5600, Bound: "storage"}, s.Each)
	w.Storage = 1e15
	assert.Equal(t, "network", made(t, w).Swap.Once.Bound)
}

func TestWhatDoesNotFitIsSaid(t *testing.T) {
	r := made(t, wish(70e9, "h100"))
	assert.False(t, r.Capacity.Fits)
	assert.Equal(t, 2, r.Capacity.UnitsForWeights)
	assert.Equal(t, 2*r.Replicas, r.Units)
	assert.True(t, made(t, wish(7e9, "h100")).Capacity.FitsTwice)
	two := made(t, wish(70e9, "h200"))
	assert.True(t, two.Capacity.Fits)
	assert.False(t, two.Capacity.FitsTwice)
	var b bytes.Buffer
	require.NoError(t, two.Write(&b))
	assert.Contains(t, b.String(), "swap: drain")
}

func TestAWrongWishIsRefusedWhole(t *testing.T) {
	w := wish(1e9, "h200")
	w.GPUs, w.Answers, w.Load, w.Network = 5, 0, 1, math.NaN()
	_, err := plan.Make(w)
	for _, want := range []string{"one of them", "--answers is 0", "--load is 1", "--network is NaN"} {
		assert.ErrorContains(t, err, want)
	}
	w = wish(1e12, "zen5-f32")
	w.Tokens = 1e9
	_, err = plan.Make(w)
	assert.ErrorContains(t, err, "name a faster device")
	_, err = plan.DeviceNamed("tpu")
	assert.ErrorContains(t, err, `device "tpu" is none that was measured`)
}
