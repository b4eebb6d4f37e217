//go:build integration

package serve

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
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

// process is a real engine, a program of others, at an address of its own.
type process struct {
	t       *testing.T
	name    string // for people
	addr    string
	command func(dir, port string) *exec.Cmd
	cmd     *exec.Cmd
	ended   <-chan error // has its end
}

// newProcess returns an engine that is not started yet, and is ended with the test.
func newProcess(t *testing.T, name string, command func(dir, port string) *exec.Cmd) *process {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &process{t: t, name: name, addr: ln.Addr().String(), command: command}
	require.NoError(t, ln.Close())
	t.Cleanup(p.kill)
	return p
}

// start starts it on a checkpoint and waits until it answers.
func (p *process) start(dir string) {
	_, port, err := net.SplitHostPort(p.addr)
	require.NoError(p.t, err)
	p.cmd = p.command(dir, port)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it may have children
	log, err := os.CreateTemp(p.t.TempDir(), "engine-*.log")
	require.NoError(p.t, err)
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	require.NoError(p.t, p.cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	p.ended = ended
	const patience = 10 * time.Minute
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			p.t.Fatalf("%s ended with %v: %s", p.name, err, lastOf(log.Name()))
		default:
		}
		if r, err := http.Get("http://" + p.addr + "/health"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				p.t.Logf("%s answers after %v", p.name, time.Since(begun).Round(100*time.Millisecond))
				return
			}
		}
	}
	p.t.Fatalf("%s does not answer: %s", p.name, lastOf(log.Name()))
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
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
	p.cmd = nil
}

// compared is a server of two models of the same members: "there", on an engine, and "here".
// The client is an administrator's, and tries once.
type compared struct {
	*api.Client
	t      *testing.T
	inputs []api.Input
	within float64 // how far rewards may be apart
	cuts   bool    // what was cut may be refused
}

func membersOf(dirs ...string) (out []api.MemberSpec) {
	for _, d := range dirs {
		out = append(out, api.MemberSpec{Path: d})
	}
	return out
}

// compare starts the server. The model here is live when it returns.
func compare(t *testing.T, there *api.BackendSpec, dirs ...string) *compared {
	const key = "administrator"
	there.Directory = t.TempDir()
	_, ln, _ := running(t, Config{Server: server.Config{AdminKeys: []string{key}, ModelRoot: "/"}, Models: map[string]*api.ModelSpec{
		"there": {Members: membersOf(dirs...), DType: "float32", Backend: there},
		"here":  {Members: membersOf(dirs...)},
	}})
	client, err := api.NewClient("http://"+ln.Addr().String(), api.WithKey(key), api.WithRetry(api.Retry{Attempts: 1}))
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := client.Model(t.Context(), "here"); return err == nil }, time.Minute, 10*time.Millisecond)
	return &compared{Client: client, t: t, within: 2e-5} // sums in another order, in float32
}

// ready waits until both models can be scored.
func (c *compared) ready() {
	c.t.Helper()
	var err error
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if err = c.Ready(c.t.Context()); err == nil {
			return
		}
	}
	c.t.Fatal(err)
}

// same holds the rewards of all inputs, and the revisions, of both models against each other. An
// engine that takes text may refuse what was cut inside a word or a character.
func (c *compared) same() {
	c.t.Helper()
	worst, all, cut, refused := 0.0, 0, 0, 0
	for some := range slices.Chunk(c.inputs, 10) { // an engine that is not optimised has time for so many
		var got [2]*api.RewardResponse
		for i, name := range []string{"there", "here"} {
			var err error
			got[i], err = c.Reward(c.t.Context(), &api.RewardRequest{Model: name, Inputs: some, OnError: api.OnErrorItem})
			require.NoError(c.t, err)
		}
		assert.Equal(c.t, got[1].Revision, got[0].Revision)
		for i, there := range got[0].Data {
			here := got[1].Data[i]
			require.Nil(c.t, here.Error)
			all++
			if here.Truncated {
				cut++
			}
			if there.Error != nil && here.Truncated && c.cuts {
				refused++
				continue
			}
			require.Nil(c.t, there.Error, "item %d", i)
			d := float64(there.Reward - here.Reward)
			worst = max(worst, d, -d)
		}
	}
	c.t.Logf("largest difference of %d rewards: %.2g; %d of %d that were cut were refused", all-refused, worst, refused, cut)
	assert.Less(c.t, worst, c.within)
	assert.GreaterOrEqual(c.t, all-refused, 40)
}

// load asks for a few rewards again and again, from so many callers, until stop is called, which
// returns how many requests were answered and the errors of the others.
func (c *compared) load(callers int) (stop func() (answered int64, failed []error)) {
	var all sync.WaitGroup
	var done atomic.Bool
	var answered atomic.Int64
	var mu sync.Mutex
	var failed []error
	for range callers {
		all.Go(func() {
			for !done.Load() {
				if _, err := c.Reward(c.t.Context(), &api.RewardRequest{Model: "there", Inputs: c.inputs[:3]}); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					continue
				}
				answered.Add(1)
			}
		})
	}
	return func() (int64, []error) {
		done.Store(true)
		all.Wait()
		return answered.Load(), failed
	}
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

// vllm is a vLLM server on the CPU.
func vllm(dir, port string) *exec.Cmd {
	cmd := exec.Command(os.Getenv("WARM_VLLM_PYTHON"), "-m", "vllm.entrypoints.openai.api_server", "--model", dir, "--host", "127.0.0.1", "--port", port,
		"--runner", "pooling", "--convert", "classify", "--enforce-eager", "--dtype", "float32", "--max-num-batched-tokens", "2048")
	cmd.Env = append(os.Environ(), "VLLM_SERVER_DEV_MODE=1", "VLLM_CPU_KVCACHE_SPACE=1", "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "OMP_NUM_THREADS=1", "VLLM_CPU_OMP_THREADS_BIND=nobind")
	return cmd
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
	v := newProcess(t, "vLLM", vllm)
	v.start(a)
	both := compare(t, &api.BackendSpec{VLLM: "http://" + v.addr}, a, b)
	both.ready()
	for i := range 40 {
		both.inputs = append(both.inputs, api.Answers(fmt.Sprintf("question %d", i), "yes", strings.Repeat("a longer answer ", i%9)))
	}
	both.same()

	// A swap under load: no request fails, and rewards are the new revision's afterwards.
	stop := both.load(3)
	for _, name := range []string{"there", "here"} {
		_, err := both.PutModel(t.Context(), name, &api.ModelSpec{Members: membersOf(b, c)}, true)
		require.NoError(t, err)
	}
	answered, failed := stop()
	assert.Empty(t, failed)
	t.Logf("%d requests during the swap, none failed", answered)
	both.same()

	// A load that fails leaves the revision live, which vLLM is given again.
	_, err := both.PutModel(t.Context(), "there", &api.ModelSpec{Members: membersOf(a), Backend: &api.BackendSpec{EngineDirectory: "/nowhere"}}, true)
	require.ErrorContains(t, err, "/nowhere")
	both.same()

	// A killed engine: 503, and once it is started again, on other weights, it is given ours.
	v.kill()
	_, err = both.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: both.inputs[:1]})
	assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
	assert.ErrorContains(t, both.Ready(t.Context()), "model there cannot be scored")
	v.start(a)
	both.ready()
	both.same()
}
