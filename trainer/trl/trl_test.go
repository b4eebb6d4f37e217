package trl

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// pairsFile writes n preferences, with further fields in each.
func pairsFile(t *testing.T, n int, more string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`{"id":` + strconv.Itoa(i) + `,"prompt":"q","chosen":"yes ` + strconv.Itoa(i) + `","rejected":"no"` + more + "}\n")
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// write writes a plan's runs, of a base and pairs that the plan names so.
func write(t *testing.T, plan string, o Options, more ...string) (*Set, error) {
	base, pairs := rewardtest.Checkpoint(t, "base", nil), pairsFile(t, 40, strings.Join(more, ""))
	p := &rm.Plan{Out: filepath.Join(t.TempDir(), "runs")}
	text := strings.NewReplacer("BASE", base, "PAIRS", pairs).Replace(plan)
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), p, yaml.UseJSONUnmarshaler(), yaml.Strict()))
	runs, err := p.Expand()
	require.NoError(t, err)
	if o.Python == "" {
		o.Python, o.DType = "python3", "float32"
	}
	return Write(p, runs, o)
}

// read reads a file that was written, strictly.
func read[T any](t *testing.T, s *Set, name string) (v T) {
	data, err := os.ReadFile(filepath.Join(s.Dir, name))
	require.NoError(t, err)
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&v), "%s", data)
	return v
}

const planOfAll = `
run: {base: BASE, train: [PAIRS], holdout: id%4, batch: 8, seed: 5, clip: 1, schedule: cosine, warmup: 0.2}
members:
  - {lr: 3.0e-4, weight_decay: 0.01, center: 0.01, bf16: true}
  - {lr: 5.0e-4, dropout: {hidden: 0.05}, optimizer: adafactor, schedule: constant, epochs: 2}
  - {lr: 2.0e-4, lora: {r: 8, lora_alpha: 16, target_modules: [q_proj]}, corrupt: 0.5, data_seed: 77}
`

func TestAPlanBecomesRunsOfTRL(t *testing.T) {
	s, err := write(t, planOfAll, Options{Program: []byte("print()"), Python: "py", GPUs: 2, DType: "bfloat16"})
	require.NoError(t, err)
	one := read[Job](t, s, "member-1.json")
	center := 0.01
	assert.Equal(t, Job{Run: one.Run, Start: "../init", Out: "../member-1", State: "state-member-1-" + one.Run[7:19], Pairs: one.Pairs,
		PadTokenID: 0, Batch: 8, Micro: 8, Head: "score.weight", DType: "bfloat16",
		Launch: []string{"py", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"},
		Arguments: Arguments{LearningRate: 3e-4, Scheduler: "cosine", WarmupSteps: 0, MaxSteps: 4, Optimizer: "adamw_torch", Decay: 0.01,
			Clip: 1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Center: &center, Seed: 5, DataSeed: 0, BF16: true, SaveSteps: 100,
			DisableDropout: true, SaveTotalLimit: 1, LoggingSteps: 1, ReportTo: "none", DisableProgress: true}}, one)
	two := read[Job](t, s, "member-2.json")
	assert.Equal(t, "constant_with_warmup", two.Arguments.Scheduler)
	assert.Equal(t, "adafactor", two.Arguments.Optimizer)
	assert.Equal(t, []int{8, 1, 6}, []int{two.Arguments.MaxSteps, two.Arguments.WarmupSteps, int(two.Arguments.Seed)})
	assert.InDelta(t, 0.05, two.Dropout.Hidden, 1e-7)
	assert.False(t, two.Arguments.DisableDropout)
	assert.Equal(t, one.Pairs, two.Pairs, "members that learn from the same pairs share their file")
	three := read[Job](t, s, "member-3.json")
	assert.EqualValues(t, 77, three.Arguments.DataSeed)
	assert.Equal(t, 8, three.LoRA.Rank)
	assert.NotEqual(t, one.Pairs, three.Pairs, "corrupted")
	assert.NotEqual(t, one.Run, two.Run)

	// The pairs are those of the trainer here: without the held-out ones, as a template has them.
	lines := readLines(t, s, one.Pairs)
	require.Len(t, lines, 30)
	text := func(ids []int32) string {
		var b strings.Builder
		for _, id := range ids {
			if id >= 2 { // the tokens of this tokenizer are bytes
				b.WriteByte(byte(id - 2))
			}
		}
		return b.String()
	}
	assert.Equal(t, "[user]q[assistant]yes 1", text(lines[0].Chosen))
	assert.Equal(t, "[user]q[assistant]no", text(lines[0].Rejected))
	assert.Nil(t, lines[0].Margin)

	start := read[startJob](t, s, "start.json")
	assert.Equal(t, "../init", start.Starts[0].Dir)
	assert.DirExists(t, start.Starts[0].Base)
	assert.Len(t, readLines(t, s, start.Pairs), 30, "the head is probed on as many as there are")
	program, err := os.ReadFile(filepath.Join(s.Dir, "members.py"))
	require.NoError(t, err)
	assert.Equal(t, "print()", string(program))
}

func readLines(t *testing.T, s *Set, name string) (out []line) {
	data, err := os.ReadFile(filepath.Join(s.Dir, name))
	require.NoError(t, err)
	for l := range strings.Lines(string(data)) {
		var one line
		require.NoError(t, json.Unmarshal([]byte(l), &one))
		out = append(out, one)
	}
	return out
}

func TestSeveralStartsAreTakenInTurn(t *testing.T) {
	s, err := write(t, "bases: [BASE, BASE]\nrun: {train: [PAIRS], holdout: id%4, no_probe: true}\nmembers: [{lr: 0.001}, {lr: 0.001}, {lr: 0.001}]\n",
		Options{}, `,"margin":0.5`)
	require.NoError(t, err)
	for i, want := range []string{"../init-1", "../init-2", "../init-1"} {
		assert.Equal(t, want, s.jobs[i].Start)
	}
	start := read[startJob](t, s, "start.json")
	assert.Len(t, start.Starts, 2)
	assert.Empty(t, start.Pairs, "the base's head is kept")
	lines := readLines(t, s, s.jobs[0].Pairs)
	assert.InDelta(t, 0.5, *lines[0].Margin, 0)
}

// TestABaseThatTransformersDoesNotOpenIsWrittenOut takes a base through a name that is no directory.
func TestABaseThatTransformersDoesNotOpenIsWrittenOut(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "base", nil)
	p := &rm.Plan{Out: filepath.Join(t.TempDir(), "runs"), Run: rm.Config{Base: "hub:some/base", Train: []string{pairsFile(t, 8, "")},
		LR: 1e-3, Open: func(string) (*loader.Checkpoint, error) { return loader.Open(dir) }}, M: 1}
	runs, err := p.Expand()
	require.NoError(t, err)
	s, err := Write(p, runs, Options{Image: "trl:1", Claim: "warm"})
	require.NoError(t, err)
	start := read[startJob](t, s, "start.json")
	assert.Equal(t, filepath.Join(s.Dir, "base-1"), start.Starts[0].Base)
	c, err := loader.Open(start.Starts[0].Base)
	require.NoError(t, err)
	assert.NoError(t, c.Close())
}

// TestTheEndOfTextPadsWhereNothingElseDoes holds what TRL does with a tokenizer without a padding token,
// and that texts which end with that token are read at the one before, as transformers reads them.
func TestTheEndOfTextPadsWhereNothingElseDoes(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "base", func(c *loader.Contents) {
		c.Config = []byte(strings.Replace(string(c.Config), `"pad_token_id":0,`, "", 1))
	})
	p := &rm.Plan{Out: filepath.Join(t.TempDir(), "runs"), Run: rm.Config{Base: dir, Train: []string{pairsFile(t, 8, "")}, LR: 1e-3}, M: 1}
	runs, err := p.Expand()
	require.NoError(t, err)
	s, err := Write(p, runs, Options{})
	require.NoError(t, err)
	assert.EqualValues(t, 1, s.jobs[0].PadTokenID, "</s>")
	x := s.made[0].Pairs[0].Chosen
	assert.EqualValues(t, 1, x.IDs[len(x.IDs)-1])
	assert.Equal(t, []int32{int32(len(x.IDs) - 2)}, x.Read)
}

func TestSettingsThatTRLDoesNotHaveAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ plan, want string }{
		"a moving average":     {plan: "ema: 0.9", want: "member-1: ema: TRL's trainer has no such setting"},
		"dropout of tokens":    {plan: "token_dropout: 0.1", want: "token_dropout"},
		"measurements between": {plan: "eval_every: 3", want: "eval_every"},
		"a large seed":         {plan: "seed: 4294967296", want: "seed: 4294967296, want a seed below"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := write(t, "run: {base: BASE, train: [PAIRS], lr: 0.001, "+c.plan+"}\nmembers: [{batch: 4}]\n", Options{})
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// TestWhatTransformersWouldReadOtherwiseIsRefused has pairs of which another token is read than
// the last that is not padding.
func TestWhatTransformersWouldReadOtherwiseIsRefused(t *testing.T) {
	s, err := write(t, "run: {base: BASE, train: [PAIRS], lr: 0.001}\nmembers: [{batch: 4}]\n", Options{})
	require.NoError(t, err)
	p := *s.made[0]
	x := p.Pairs[0]
	require.NoError(t, refused(&x, &p))
	soft, read, typed := x, x, x
	soft.Label = 0.7
	assert.ErrorContains(t, refused(&soft, &p), "no soft labels")
	read.Chosen.Read = []int32{0}
	assert.ErrorContains(t, refused(&read, &p), "the model reads token [0]")
	typed.Rejected.Types = make([]int32, len(x.Rejected.IDs))
	assert.NoError(t, refused(&typed, &p))
	typed.Rejected.Types[2] = 1
	assert.ErrorContains(t, refused(&typed, &p), "two segments")
	other := *p.Model
	other.Reading.Pooling = model.PoolMean
	p.Model = &other
	assert.ErrorContains(t, refusals(s.Members[0].Config, &p), "pooling: the head reads mean of the body's states")
	p.Model = s.made[0].Model
	p.PadTokenID = x.Chosen.IDs[len(x.Chosen.IDs)-1]
	assert.ErrorContains(t, refused(&x, &p), "the last that is not padding")
}

func TestAnotherStartIsRefusedOrReplaced(t *testing.T) {
	s, err := write(t, planOfAll, Options{})
	require.NoError(t, err)
	dir := filepath.Join(s.Plan.Out, "init")
	require.NoError(t, loader.Save(dir, rewardtest.Contents(t, "other")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "initialisation.json"), []byte(`{"config":{"max_pairs":3},"base":"x","data":{}}`), 0o600))
	_, err = Write(s.Plan, s.Members, s.options)
	require.ErrorIs(t, err, loader.ErrExists)
	s.Plan.Run.Replace = true
	_, err = Write(s.Plan, s.Members, s.options)
	require.NoError(t, err)
	assert.NoDirExists(t, dir, "the next run makes it")
}

// TestScripts holds the script for Slurm and the manifest for Kubernetes, in whose types
// deploy/helm/check reads it.
func TestScripts(t *testing.T) {
	s, err := write(t, planOfAll, Options{Program: []byte("x"), Python: "/opt/my py/bin/python", DType: "float32", GPUs: 4, Image: "trl:1", Claim: "work"})
	require.NoError(t, err)
	script, err := os.ReadFile(filepath.Join(s.Dir, SlurmFile))
	require.NoError(t, err)
	for _, want := range []string{"sbatch --array=1-3 " + s.Dir, "#SBATCH --signal=B:TERM@120\n", "#SBATCH --gpus-per-node=4\n",
		"exec '/opt/my py/bin/python' " + s.Dir + `/members.py "$SLURM_ARRAY_TASK_ID"`} {
		assert.Contains(t, string(script), want)
	}
	if bash, err := exec.LookPath("bash"); err == nil {
		out, err := exec.Command(bash, "-n", filepath.Join(s.Dir, SlurmFile)).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
	assert.Equal(t, "sbatch --array=1,3 "+filepath.Join(s.Dir, SlurmFile), s.Submit("slurm", []int{1, 3}))
	assert.Equal(t, "kubectl apply -f "+filepath.Join(s.Dir, JobFile), s.Submit("kubernetes", []int{1, 3}))

	manifest, err := os.ReadFile(filepath.Join(s.Dir, JobFile))
	require.NoError(t, err)
	var job struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		Spec       struct {
			Completions, Parallelism int
			CompletionMode           string `yaml:"completionMode"`
			Backoff                  int    `yaml:"backoffLimitPerIndex"`
			Template                 struct {
				Spec struct {
					RestartPolicy string `yaml:"restartPolicy"`
					Grace         int    `yaml:"terminationGracePeriodSeconds"`
					Containers    []struct {
						Name, Image string
						Command     []string
						Mounts      []struct {
							Name string
							Path string `yaml:"mountPath"`
						} `yaml:"volumeMounts"`
						Resources struct{ Limits map[string]string }
					}
					Volumes []struct {
						Name  string
						Claim struct {
							Name string `yaml:"claimName"`
						} `yaml:"persistentVolumeClaim"`
					}
				}
			}
		}
	}
	require.NoError(t, yaml.UnmarshalWithOptions(manifest, &job, yaml.Strict()), "%s", manifest)
	assert.Equal(t, []int{3, 3}, []int{job.Spec.Completions, job.Spec.Parallelism})
	assert.Equal(t, "Indexed", job.Spec.CompletionMode)
	c := job.Spec.Template.Spec.Containers[0]
	assert.Equal(t, map[string]string{"nvidia.com/gpu": "4"}, c.Resources.Limits)
	assert.True(t, strings.HasPrefix(s.Dir, c.Mounts[0].Path+"/"), "%s lies on the volume at %s", s.Dir, c.Mounts[0].Path)
	assert.Equal(t, "work", job.Spec.Template.Spec.Volumes[0].Claim.Name)
	// The command is that of the member after the index.
	said, err := exec.Command("env", append([]string{"JOB_COMPLETION_INDEX=2", "sh", "-c",
		strings.Replace(c.Command[2], "exec", "echo", 1)}, c.Command[3:]...)...).Output()
	require.NoError(t, err)
	assert.Equal(t, "/opt/my py/bin/python "+s.Dir+"/members.py 3\n", string(said))
}

// TestALauncherStartsOneRun has the program start a launcher that tells nothing of itself, as accelerate's
// for a single process does: what it starts is the run, and no further launcher.
func TestALauncherStartsOneRun(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the program is not run")
	}
	program, err := os.ReadFile(filepath.Join("..", "..", "deploy", "members", "trl", "members.py"))
	require.NoError(t, err)
	dir := t.TempDir()
	launcher, started := filepath.Join(dir, "launcher"), filepath.Join(dir, "started")
	// In place of torch and TRL there is a module that ends the run.
	script := "#!/bin/sh\necho \"$@\" >> " + started + "\n[ $(wc -l < " + started + ") -lt 3 ] || exit 1\nexec " + python + " \"$@\"\n"
	require.NoError(t, os.WriteFile(launcher, []byte(script), 0o755)) // #nosec: it is run
	require.NoError(t, os.WriteFile(filepath.Join(dir, "torch.py"), []byte("raise SystemExit(7)\n"), 0o600))
	s, err := write(t, planOfAll, Options{Program: program, Python: python, DType: "float32", Launcher: []string{launcher}})
	require.NoError(t, err)
	require.NoError(t, loader.Save(filepath.Join(s.Plan.Out, "init"), rewardtest.Contents(t, "base")))
	cmd := exec.Command(python, filepath.Join(s.Dir, "members.py"), "2")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	assert.Equal(t, 7, exit.ExitCode(), "%s", out)
	said, err := os.ReadFile(started)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(s.Dir, "members.py")+" 2\n", string(said))
}

func TestArraysAreWrittenShort(t *testing.T) {
	for want, numbers := range map[string][]int{"": nil, "4": {4}, "1-3": {1, 2, 3}, "1,3-4,9": {1, 3, 4, 9}} {
		assert.Equal(t, want, ranges(numbers))
	}
}

// TestAProcessThatStaysBehindHoldsNoRun: a library may leave one that keeps the program's output open.
func TestAProcessThatStaysBehindHoldsNoRun(t *testing.T) {
	was := grace
	grace = 50 * time.Millisecond
	t.Cleanup(func() { grace = was })
	s := &Set{Dir: t.TempDir()}
	s.options.Python = filepath.Join(s.Dir, "python")
	require.NoError(t, os.WriteFile(s.options.Python,
		[]byte("#!/bin/sh\nsleep 20 &\necho '{\"step\":1}'\necho a library\nprintf '{\"step\":2}'\n"), 0o755))
	var steps []int
	begun := time.Now()
	require.NoError(t, s.Run(t.Context(), 0, func(p rm.Progress) { steps = append(steps, p.Step) }))
	assert.Less(t, time.Since(begun), 15*time.Second)
	assert.Equal(t, []int{1, 2}, steps)
	log, err := os.ReadFile(filepath.Join(s.Dir, "member-1.log"))
	require.NoError(t, err)
	assert.Equal(t, "a library\n", string(log))
}

// TestTasksOfAnArrayWriteTheSameSet, all at once.
func TestTasksOfAnArrayWriteTheSameSet(t *testing.T) {
	s := &Set{Dir: t.TempDir()}
	var tasks sync.WaitGroup
	for n := range 4 {
		tasks.Go(func() {
			for i := range 10 {
				assert.NoError(t, s.write("start.json", bytes.Repeat([]byte{byte('a' + (n+i)%4)}, 1<<16)))
			}
		})
	}
	tasks.Wait()
	text, err := os.ReadFile(filepath.Join(s.Dir, "start.json"))
	require.NoError(t, err)
	assert.Equal(t, bytes.Repeat(text[:1], 1<<16), text)
}
