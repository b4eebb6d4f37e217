//go:build integration

package serve

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// vllmProcess is a real vLLM server on the CPU.
type vllmProcess struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd
	// ended has its end.
	ended <-chan error
}

// start starts it on a checkpoint and waits until it answers.
func (v *vllmProcess) start(dir string) {
	python := cmp.Or(os.Getenv("WARM_VLLM_PYTHON"), "python3")
	_, port, err := net.SplitHostPort(v.addr)
	require.NoError(v.t, err)
	v.cmd = exec.Command(python, "-m", "vllm.entrypoints.openai.api_server", "--model", dir, "--host", "127.0.0.1", "--port", port,
		"--runner", "pooling", "--convert", "classify", "--enforce-eager", "--dtype", "float32", "--max-num-batched-tokens", "2048")
	v.cmd.Env = append(os.Environ(), "VLLM_SERVER_DEV_MODE=1", "VLLM_CPU_KVCACHE_SPACE=1", "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "OMP_NUM_THREADS=1", "VLLM_CPU_OMP_THREADS_BIND=nobind")
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has children
	log, err := os.CreateTemp(v.t.TempDir(), "vllm-*.log")
	require.NoError(v.t, err)
	defer log.Close()
	v.cmd.Stdout, v.cmd.Stderr = log, log
	require.NoError(v.t, v.cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- v.cmd.Wait() }()
	v.ended = ended
	const patience = 10 * time.Minute
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(500 * time.Millisecond) {
		select {
		case err := <-ended:
			v.t.Fatalf("vLLM ended with %v: %s", err, lastOf(log.Name()))
		default:
		}
		if r, err := http.Get("http://" + v.addr + "/health"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				v.t.Logf("vLLM answers after %v", time.Since(begun).Round(time.Second))
				return
			}
		}
	}
	v.t.Fatalf("vLLM does not answer: %s", lastOf(log.Name()))
}

// lastOf is the end of a file.
func lastOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}

// kill ends it and its children at once.
func (v *vllmProcess) kill() {
	if v.cmd == nil {
		return
	}
	_ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL)
	<-v.ended
	v.cmd = nil
}

// larger is a member whose heads vLLM's attention on the CPU takes, of 64 values.
func larger(t *testing.T, name, class, kind string) string {
	return rewardtest.Checkpoint(t, name, func(c *loader.Contents) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal(c.Config, &fields))
		fields["architectures"], fields["model_type"] = []string{class}, kind
		fields["hidden_size"], fields["num_attention_heads"], fields["head_dim"], fields["intermediate_size"] = 128, 2, 64, 256
		fields["max_position_embeddings"], fields["num_key_value_heads"] = 256, 2
		c.Config, _ = json.Marshal(fields)
		cfg, err := model.ParseConfig(c.Config)
		require.NoError(t, err)
		c.Source = model.NewRandom(cfg, uint64(len(kind))+uint64(name[0]))
		// vLLM wants a tokenizer, which it is sent no text for.
		c.TokenizerConfig = []byte(`{"tokenizer_class":"PreTrainedTokenizerFast","bos_token":"<s>","eos_token":"</s>"}`)
	})
}

// TestRealVLLM needs a Python with vLLM for the CPU: deploy/backends/run.sh makes one.
func TestRealVLLM(t *testing.T) {
	if os.Getenv("WARM_VLLM_PYTHON") == "" {
		t.Skip("WARM_VLLM_PYTHON names no Python with vLLM: deploy/backends/run.sh installs it")
	}
	for class, kind := range map[string]string{"LlamaForSequenceClassification": "llama", "Qwen3ForSequenceClassification": "qwen3"} {
		t.Run(kind, func(t *testing.T) { onRealVLLM(t, class, kind) })
	}
}

func onRealVLLM(t *testing.T, class, kind string) {
	a, b, c := larger(t, "a", class, kind), larger(t, "b", class, kind), larger(t, "c", class, kind)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	v := &vllmProcess{t: t, addr: ln.Addr().String()}
	require.NoError(t, ln.Close())
	v.start(a)
	t.Cleanup(v.kill)

	members := func(dirs ...string) (out []api.MemberSpec) {
		for _, d := range dirs {
			out = append(out, api.MemberSpec{Path: d})
		}
		return out
	}
	const key = "administrator"
	client, listener, _ := running(t, Config{Server: server.Config{AdminKeys: []string{key}, ModelRoot: "/"}, Models: map[string]*api.ModelSpec{
		"there": {Members: members(a, b), DType: "float32", Backend: &api.BackendSpec{VLLM: "http://" + v.addr, Directory: t.TempDir()}},
		"here":  {Members: members(a, b)},
	}})
	require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, time.Minute, 10*time.Millisecond)
	admin, err := api.NewClient("http://"+listener.Addr().String(), api.WithKey(key), api.WithRetry(api.Retry{Attempts: 1}))
	require.NoError(t, err)

	var inputs []api.Input
	for i := range 40 {
		inputs = append(inputs, api.Answers(fmt.Sprintf("question %d", i), "yes", strings.Repeat("a longer answer ", i%9)))
	}
	same := func() {
		t.Helper()
		var got [2]*api.RewardResponse
		for i, name := range []string{"there", "here"} {
			var err error
			got[i], err = admin.Reward(t.Context(), &api.RewardRequest{Model: name, Inputs: inputs})
			require.NoError(t, err)
		}
		assert.Equal(t, got[1].Revision, got[0].Revision)
		worst := 0.0
		for i := range got[0].Data {
			d := float64(got[0].Data[i].Reward - got[1].Data[i].Reward)
			worst = max(worst, d, -d)
		}
		t.Logf("largest difference of %d rewards: %.2g", len(got[0].Data), worst)
		assert.Less(t, worst, 2e-5) // sums in another order, in float32
	}
	same()

	// A swap under load: no request fails, and rewards are the new revision's afterwards.
	var all sync.WaitGroup
	var done atomic.Bool
	var answered atomic.Int64
	for range 3 {
		all.Go(func() {
			for !done.Load() {
				_, err := admin.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: inputs[:3]})
				assert.NoError(t, err)
				answered.Add(1)
			}
		})
	}
	for _, name := range []string{"there", "here"} {
		_, err := admin.PutModel(t.Context(), name, &api.ModelSpec{Members: members(b, c)}, true)
		require.NoError(t, err)
	}
	done.Store(true)
	all.Wait()
	t.Logf("%d requests during the swap, none failed", answered.Load())
	same()

	// A load that fails leaves the revision live, which vLLM is given again.
	_, err = admin.PutModel(t.Context(), "there", &api.ModelSpec{Members: members(a), Backend: &api.BackendSpec{EngineDirectory: "/nowhere"}}, true)
	require.ErrorContains(t, err, "/nowhere")
	same()

	// A killed engine: 503, and once it is started again, on other weights, it is given ours.
	v.kill()
	_, err = admin.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: inputs[:1]})
	assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
	assert.ErrorContains(t, admin.Ready(t.Context()), "model there cannot be scored")
	v.start(a)
	require.Eventually(t, func() bool { return admin.Ready(t.Context()) == nil }, time.Minute, 50*time.Millisecond)
	same()
}
