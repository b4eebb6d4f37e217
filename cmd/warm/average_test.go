package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward"
)

func TestAverageIsTheFloat64MeanRoundedOnceAndLoadsAgain(t *testing.T) {
	dirs := paradetox(t)
	out := filepath.Join(t.TempDir(), "wa")
	code, _, stderr := command(t, "", append([]string{"average", "--out", out}, dirs...)...)
	require.Equal(t, exitOK, code, stderr)

	var members []*loader.Checkpoint
	for _, d := range dirs {
		c, err := loader.Open(d)
		require.NoError(t, err)
		defer c.Close()
		members = append(members, c)
	}
	written, err := loader.Open(out)
	require.NoError(t, err)
	defer written.Close()
	require.Equal(t, members[0].Names(), written.Names())
	for _, name := range written.Names() {
		got := values(t, written, name)
		sum := make([]float64, len(got))
		for _, m := range members {
			for i, v := range values(t, m, name) {
				sum[i] += float64(v)
			}
		}
		for i := range got {
			want := float32(sum[i] / float64(len(members)))
			require.Equal(t, math.Float32bits(want), math.Float32bits(got[i]), "%s[%d]", name, i)
		}
	}

	// The directory is served as the members are averaged in memory.
	open := func(dirs ...string) string {
		c := reward.Config{}
		for _, d := range dirs {
			c.Members = append(c.Members, reward.Member{Dir: d})
		}
		d, err := reward.Open(t.Context(), c, 2)
		require.NoError(t, err)
		return d.Average().Digest()
	}
	assert.Equal(t, open(dirs...), open(out))
}

func values(t testing.TB, c *loader.Checkpoint, name string) []float32 {
	shape, ok := c.Shape(name)
	require.True(t, ok, name)
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	require.NoError(t, c.ReadAt(v, name, 0))
	return v
}

// averageMemory, when set in the environment, makes the test binary average
// checkpoints and print the peak of its memory: a process of its own, so that
// nothing else counts.
const averageMemory = "WARM_TEST_AVERAGE_MEMORY"

// peakRSS returns the largest resident set of this process, in bytes; 0 where the
// system does not tell it. What a parent learns of a child's counts the parent's own.
func peakRSS() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kb int
	_, _ = fmt.Sscan(peak, &kb) // 0 where it is not there
	return kb << 10
}

func TestMain(m *testing.M) {
	if args := os.Getenv(averageMemory); args != "" {
		before := peakRSS() // the program itself, with all that tests are linked with
		code := run(context.Background(), append([]string{"average"}, strings.Split(args, "\n")...), os.Getenv, os.Stdin, os.Stderr, os.Stderr)
		fmt.Println(before, peakRSS())
		os.Exit(code)
	}
	if args := os.Getenv(childCommand); args != "" {
		os.Exit(runChild(strings.Split(args, "\n")))
	}
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		_ = n.Value.Set("6") // what runs side by side waits: for drains, for tries again, for a browser
	}
	os.Exit(m.Run())
}

func TestAveragingKeepsNoModelInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes four checkpoints of 60 MB")
	}
	dir := t.TempDir()
	cfg := []byte(`{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","hidden_size":512,"intermediate_size":1376,"num_hidden_layers":4,"num_attention_heads":8,"vocab_size":4000,"max_position_embeddings":512,"id2label":{"0":"LABEL_0"}}`)
	c, err := model.ParseConfig(cfg)
	require.NoError(t, err)
	args := []string{"--out", filepath.Join(dir, "wa")}
	for i := range 4 {
		d := filepath.Join(dir, string(rune('a'+i)))
		require.NoError(t, loader.Save(d, loader.Contents{Config: cfg, Source: model.NewRandom(c, uint64(i))}))
		args = append(args, d)
	}
	m, err := model.Load(c, model.NewRandom(c, 0), model.LoadOptions{DType: kernel.Float32})
	require.NoError(t, err)

	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), averageMemory+"="+strings.Join(args, "\n"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	var alone, peak int
	_, err = fmt.Sscan(string(out), &alone, &peak)
	require.NoError(t, err, "%s", out)
	if peak == 0 {
		t.Skip("this system does not report a process's peak memory")
	}
	size := 4 * m.Parameters()
	t.Logf("one model %d MB, peak resident memory %d MB, mapped files included; the program %d MB", size>>20, peak>>20, alone>>20)
	// The members' mapped pages are part of the resident set while they are read.
	assert.Less(t, float64(peak-alone), 1.3*float64(size))
}

func TestAnAverageGivenAgainIsDoneAlready(t *testing.T) {
	a, b, out := tinyModel(t, "a", nil), tinyModel(t, "b", nil), filepath.Join(t.TempDir(), "wa")
	average := func(more ...string) (int, string) {
		code, _, stderr := command(t, "", append([]string{"average", "--out", out, a, b}, more...)...)
		return code, stderr
	}
	code, stderr := average()
	require.Equal(t, exitOK, code, stderr)
	weights := filepath.Join(out, "model.safetensors")
	written, err := os.Stat(weights)
	require.NoError(t, err)
	code, stderr = average()
	assert.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stderr, out+" holds the result of this run already: nothing to do")
	again, err := os.Stat(weights)
	require.NoError(t, err)
	assert.True(t, os.SameFile(written, again), "nothing was written")
	for _, other := range [][]string{{"--weights", "1,2"}, {"--dtype", "bfloat16"}, {tinyModel(t, "c", nil)}, {"--base", a, "--alpha", "0.5"}} {
		code, stderr = average(other...)
		assert.Equal(t, exitFailure, code, other)
		assert.Contains(t, stderr, "is not this average: name another directory, or --replace", other)
	}
	require.NoError(t, os.Truncate(weights, written.Size()/2))
	code, _ = average()
	assert.Equal(t, exitFailure, code, "half of the weights are not the average")
	code, stderr = average("--replace")
	assert.Equal(t, exitOK, code, stderr)
}
