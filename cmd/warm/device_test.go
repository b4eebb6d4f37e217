package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/bench"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/worker"
	"github.com/warmserve/warmserve/model/device"
	"github.com/warmserve/warmserve/model/modeltest"
	"github.com/warmserve/warmserve/server"
)

// withCard returns a program on a machine with a card, and the names that devices were
// asked for by.
func withCard(stdin string, getenv func(string) string) (p *program, out, errs *output, asked *[]string) {
	out, errs, asked = &output{}, &output{}, new([]string)
	p = &program{getenv: getenv, stdin: strings.NewReader(stdin), stdout: out, stderr: errs, exit: os.Exit,
		devices: func(name string, o device.Options) (model.Engine, error, error) {
			*asked = append(*asked, name)
			if name == "cpu" {
				return model.NewEngine(1), nil, nil
			}
			return modeltest.NewCard(), nil, nil
		}}
	return p, out, errs, asked
}

// bare is an environment that names no device.
func bare(string) string { return "" }

func TestScoreAndEvalComputeOnACardWhereThereIsOne(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	const input = `{"prompt":"Q","response":"A"}`
	rewards := map[string]string{}
	for _, c := range []struct {
		name, asked string
		env         func(string) string
		args        []string
		card        bool
	}{
		{"auto", "", bare, nil, true},
		{"float32", "cuda", bare, []string{"--device", "cuda", "--dtype", "float32"}, true},
		{"cpu", "cpu", bare, []string{"--device", "cpu"}, false},
		{"cpu bfloat16", "cpu", bare, []string{"--device", "cpu", "--dtype", "bfloat16"}, false},
		{"the variable", "cpu", noEnv, nil, false},
		{"the flag before the variable", "cuda:0,1", noEnv, []string{"--device", "cuda:0,1"}, true},
	} {
		p, out, errs, asked := withCard(input, c.env)
		require.Equal(t, exitOK, p.run(t.Context(), append(append([]string{"score"}, c.args...), dir)), errs)
		assert.Equal(t, []string{c.asked}, *asked, c.name)
		if c.card {
			assert.Contains(t, errs.String(), "computing on cuda:0 Test Card", c.name)
		} else {
			assert.NotContains(t, errs.String(), "computing", c.name)
		}
		rewards[c.name] = out.String()
	}
	assert.Equal(t, rewards["cpu"], rewards["float32"])
	assert.Equal(t, rewards["cpu bfloat16"], rewards["auto"], "bfloat16 is a card's own")
	assert.NotEqual(t, rewards["cpu"], rewards["auto"])

	pairs := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(pairs, []byte(`{"prompt":"Q","chosen":"A","rejected":"BB"}`+"\n"), 0o600))
	p, out, errs, _ := withCard("", bare)
	require.Equal(t, exitOK, p.run(t.Context(), []string{"eval", "--data", pairs, dir}), errs)
	assert.Contains(t, out.String(), "computed on cuda:0 Test Card, bfloat16")
	assert.Contains(t, errs.String(), "computing on cuda:0 Test Card")
}

func TestDeviceThatCannotBeHadIsSaid(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"score", "--device", "gpu", dir}, exitUsage, `device "gpu": want auto, cpu, cuda, cuda:all or cards by number`},
		{[]string{"serve", "--device", "cuda:", "--model", dir}, exitUsage, `device "cuda:": want auto`},
		{[]string{"score", "--dtype", "int8", dir}, exitUsage, "dtype int8 is not computed on cuda:0 Test Card: want bfloat16 or float32"},
		{[]string{"serve", "--dtype", "int8", "--model", dir}, exitUsage, "dtype int8 is not computed on cuda:0 Test Card: want bfloat16 or float32"},
		{[]string{"bench", "engine", "--random", benchConfig(t), "--dtype", "int8"}, exitUsage, "dtype int8 is not computed"},
		{[]string{"serve", "--dtype", "fp8", "--model", dir}, exitUsage, "dtype fp8 needs a card of generation 8.9 or later, which cuda:0 Test Card is not"},
		{[]string{"serve", "--device", "cpu", "--dtype", "fp8", "--model", dir}, exitUsage, "dtype fp8 is for cards; int8 is the CPU's"},
		{[]string{"bench", "engine", "--device", "cpu", "--random", benchConfig(t), "--dtype", "fp8"}, exitUsage, "dtype fp8 is for cards; int8 is the CPU's"},
		{[]string{"bench", "train", "--random", benchConfig(t), "--dtype", "fp8"}, exitUsage, "fp8 is not for training"},
		{[]string{"bench", "engine", "--random", benchConfig(t), "--level", "generic"}, exitUsage, "--level is of the CPU"},
		{[]string{"serve", "--swap", "later", "--model", dir}, exitUsage, `swap: "later", want beside or drain`},
	} {
		p, _, errs, _ := withCard("", bare)
		assert.Equal(t, c.code, p.run(t.Context(), c.args), c.args)
		assert.Contains(t, errs.String(), c.want, c.args)
	}

	p, _, errs, _ := withCard(`{"prompt":"Q","response":"A"}`, bare)
	p.devices = func(string, device.Options) (model.Engine, error, error) {
		return nil, nil, errors.New("device cuda: no card: no libcuda.so.1")
	}
	assert.Equal(t, exitFailure, p.run(t.Context(), []string{"score", "--device", "cuda", dir}))
	assert.Contains(t, errs.String(), "warm: device cuda: no card: no libcuda.so.1")

	// Why auto took no card is said, by all in one line.
	pairs := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(pairs, []byte(`{"prompt":"Q","chosen":"A","rejected":"BB"}`+"\n"), 0o600))
	for why, said := range map[error]string{
		fmt.Errorf("%w: no libcuda.so.1", device.ErrNoCard): "computing on the CPU: no card found (--device cuda says why)\n",
		errors.New("the card is too old"):                   "computing on the CPU: the card is too old\n",
	} {
		for _, args := range [][]string{{"score", dir}, {"eval", "--data", pairs, dir},
			{"bench", "engine", "--random", benchConfig(t), "--batch", "1", "--length", "2", "--threads", "1", "--rounds", "1"}} {
			p, _, errs, _ := withCard(`{"prompt":"Q","response":"A"}`, bare)
			p.devices = func(string, device.Options) (model.Engine, error, error) { return model.NewEngine(1), why, nil }
			require.Equal(t, exitOK, p.run(t.Context(), args), errs)
			assert.Equal(t, 1, strings.Count(errs.String(), said), "%s: %s", args, errs)
		}
	}
}

func TestServeComputesOnACardAndSaysSo(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	config := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("device: cuda:0\nmodels:\n  y: {members: ["+dir+"], swap: drain}\n"), 0o600))
	for _, c := range []struct{ args, asked, dtype, device string }{
		{"--model m=" + dir, "", "bfloat16", "cuda:0 Test Card"},
		{"--config " + config, "cuda:0", "bfloat16", "cuda:0 Test Card"},
		{"--config " + config + " --device cpu", "cpu", "float32", "cpu"},
	} {
		p, _, errs, asked := withCard("", bare)
		p.stdout = io.Discard
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() {
			ended <- p.run(ctx, append([]string{"serve", "--addr", "127.0.0.1:0"}, strings.Fields(c.args)...))
		}()
		var models struct {
			Data []struct{ DType, Device string }
		}
		require.Eventually(t, func() bool {
			m := listening.FindStringSubmatch(errs.String())
			if m == nil {
				return false
			}
			r, err := http.Get(m[1] + "/v1/models")
			if err != nil {
				return false
			}
			defer r.Body.Close()
			return json.NewDecoder(r.Body).Decode(&models) == nil && len(models.Data) == 1
		}, 20*time.Second, 5*time.Millisecond, "%s", errs)
		cancel()
		assert.Equal(t, exitOK, <-ended)
		assert.Equal(t, []string{c.asked}, *asked)
		assert.Equal(t, c.dtype, models.Data[0].DType, c.args)
		assert.Equal(t, c.device, models.Data[0].Device, c.args)
		assert.Contains(t, errs.String(), `msg=computing device=`)
		assert.Contains(t, errs.String(), c.device)
	}
}

func TestBenchEngineMeasuresACardsForwardPass(t *testing.T) {
	p, out, errs, _ := withCard("", bare)
	args := []string{"bench", "engine", "--random", benchConfig(t), "--batch", "2", "--length", "8", "--threads", "1", "--rounds", "1"}
	require.Equal(t, exitOK, p.run(t.Context(), append(args, "--json")), errs)
	var r bench.EngineReport
	require.NoError(t, json.Unmarshal([]byte(out.String()), &r))
	assert.Equal(t, "cuda:0 Test Card", r.Device)
	assert.Empty(t, r.Peaks)
	assert.Empty(t, r.GEMM)
	require.Len(t, r.Forward, 1)
	assert.Equal(t, "bfloat16", r.Forward[0].DType)
	assert.Positive(t, r.Forward[0].TokensPerS)
	assert.Zero(t, r.Forward[0].Share)

	p, out, errs, _ = withCard("", bare)
	require.Equal(t, exitOK, p.run(t.Context(), args), errs)
	assert.Contains(t, out.String(), "computed on cuda:0 Test Card")
	assert.NotContains(t, out.String(), "Inf")
}

// statistical is a card that says how it is doing.
type statistical struct{ *modeltest.Card }

func (statistical) Stats() []worker.Stats {
	s := worker.Stats{Card: 3, Name: "Test Card", Up: true, Restarts: 1, Batches: 2, Tokens: 30}
	s.Total, s.Free, s.SM, s.Power, s.Temperature = 80e9, 20e9, 1980, 500, 60
	return []worker.Stats{s}
}

func TestCardsOfAServerAreMeasured(t *testing.T) {
	assert.Nil(t, cardsOf(model.CPU{}))
	assert.Zero(t, batchTokens(0, model.CPU{}))
	assert.Equal(t, 16384, batchTokens(0, statistical{}))
	assert.Equal(t, 512, batchTokens(512, statistical{}))
	assert.Equal(t, []server.Card{{Name: "cuda:3 Test Card", Up: true, Restarts: 1, Batches: 2, Tokens: 30, Memory: 80e9, Free: 20e9,
		Clock: 1.98e9, Power: 500, Temperature: 60}}, cardsOf(statistical{})())
}
