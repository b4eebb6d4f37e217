package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/rm"
)

// flagModes are the ways in which a command runs, by what selects them, with the flags that
// mean nothing there and must be refused. Every command that has flags is here: whoever adds
// a flag decides in which modes it counts.
var flagModes = map[string][]struct{ mode, refused string }{
	"warm serve": {
		{"--model m=a --alpha 0.5", "model-root backend-directory"},
		{"--model m=a", "model-root base backend-directory"},
		{"--model m=a --backend vllm=http://127.0.0.1:1", "model-root base"},
		{"", "model-root base backend-directory"},
		{"--config c.yaml", "mode dtype pooling ending double-bos head output max-tokens base alpha ab-sample swap backend backend-directory"},
		{"--state s", "mode dtype pooling ending double-bos head output max-tokens base alpha ab-sample swap backend backend-directory model-root"},
		{"--watch m.yaml --admin-key-file k", "mode dtype pooling ending double-bos head output max-tokens base alpha ab-sample swap backend backend-directory"},
	},
	"warm check":           {{"", ""}},
	"warm health":          {{"", ""}},
	"warm version":         {{"", ""}},
	"warm average":         {{"", "base"}, {"--alpha 0.5", ""}},
	"warm score":           {{"", "aggregate lambda base"}, {"--mode member:a --alpha 0.5", "aggregate lambda"}, {"--mode ens", "base"}, {"--mode both --alpha 0.5", ""}},
	"warm train tokenizer": {{"", ""}},
	"warm train lm":        {{"", ""}, {"--optimizer adafactor", "beta1 beta2 eps"}, {"--valid 0", "eval-every"}},
	"warm train sft":       {{"", ""}, {"--optimizer adafactor", "beta1 beta2 eps"}, {"--valid 0", "eval-every"}},
	"warm train rm": {
		{"", "corrupt-seed eval-every"},
		{"--corrupt 0.1 --test t", ""},
		{"--corrupt 0.1 --holdout id%2 --optimizer adafactor --no-probe", "beta1 beta2 eps probe"},
	},
	"warm train members": {
		{"", "corrupt-seed eval-every" + withTRL},
		{"--corrupt 0.1 --test t --lrs 1e-3 --dropouts 0 --bases a,b", "lr dropout base" + withTRL},
		{"--corrupt 0.1 --test t --task 1", "index parallel" + withTRL},
		{"--corrupt 0.1 --test t --index 1", "parallel task" + withTRL},
		{"--corrupt 0.1 --test t --list", "task index parallel workers save-every recompute replace tensorboard with" + withTRL},
		{"--corrupt 0.1 --test t --with trl", "parallel tensorboard image claim"},
		{"--corrupt 0.1 --test t --with trl --on kubernetes", "parallel tensorboard task index"},
		{"--plan p.yaml", "but plan task index list json parallel workers save-every recompute replace tensorboard with"},
		{"--plan p.yaml --with trl --on kubernetes", "but plan list json workers save-every recompute replace with" + withTRL},
	},
	"warm rl": {
		{"", "baseline-decay kl-in ratio-clip eval-every measured"},
		{"--algorithm reinforce --kl-coef 0.1 --epochs-per-batch 2 --holdout 0.1", ""},
		{"--algorithm grpo --kl-coef 0.1 --epochs-per-batch 2 --holdout 0.1 --optimizer adafactor", "baseline-decay beta1 beta2 eps"},
	},
	"warm eval": {
		{"", "mode key name compare"},
		{"--calibration c", "mode key compare"},
		{"--url u", "workers device max-tokens pooling ending double-bos head output calibration compare"},
		{"--format judgebench", "mode key name baseline-train calibration holdout votes split-seed drop-long tolerance"},
		{"--pool a,b", "but pool json"},
	},
	"warm generate":         {{"", "top-p top-k seed"}, {"--temperature 1", ""}},
	"warm embedded":         {{"", ""}},
	"warm plan":             {{"", "gpu-tokens-per-second"}, {"--gpus 4", "tokens-per-second"}},
	"warm bench engine":     {{"", ""}, {"--shape 1x1", "batch length ragged answers"}},
	"warm bench train":      {{"", ""}},
	"warm bench checkpoint": {{"", ""}},
	"warm bench load": {
		{"", ""},
		{"--rate 5", "backoff"},
		{"--dialect openrlhf", "model"},
		{"--dialect predict", "model"},
		{"--dialect classify", ""},
	},
	"warm bench serve": {{"", ""}},
	"warm lab members": labModes, "warm lab curve": labModes, "warm lab cost": labModes, "warm lab connectivity": labModes, "warm lab corruption": labModes, "warm lab shift": labModes,
	"warm lab soups": labModes, "warm lab pareto": labModes, "warm lab bon": contestModes, "warm lab rl": contestModes, "warm lab all": contestModes,
	"warm lab report": {{"", ""}, {"--summary MiniLM=lab", "out"}},
}

// Modes of the lab's experiments, and of those with a policy.
var (
	contestModes = []struct{ mode, refused string }{
		{"", "gflops"}, {"--list", "task index workers json"}, {"--task 1", "gflops index"}, {"--index 1", "gflops task"},
	}
	labModes = []struct{ mode, refused string }{
		{"", "gflops" + withoutPolicy}, {"--list", "task index workers json" + withoutPolicy}, {"--task 1", "gflops index" + withoutPolicy},
		{"--index 1", "gflops task" + withoutPolicy},
	}
)

// withoutPolicy are the flags of experiments with a policy.
const withoutPolicy = " policy control"

// eachCommand calls f for the commands that do something.
func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	if c.Runnable() && c.Name() != "help" && c.Name() != "completion" {
		f(c)
	}
	for _, sub := range c.Commands() {
		eachCommand(sub, f)
	}
}

// sampleOf is a value that a flag takes and that is not its default.
func sampleOf(f *pflag.Flag) string {
	switch {
	case f.Name == "lora":
		return "8,16,q_proj"
	case f.Name == "optimizer":
		return "adamw"
	case f.Name == "temperature":
		return "0"
	}
	switch f.Value.Type() {
	case "bool":
		return "true"
	case "duration":
		return "3s"
	case "string", "stringSlice", "stringArray":
		return "x"
	case "float64", "float32", "float64Slice":
		return "0.25"
	}
	return "3"
}

// withTRL are the flags of --with trl.
const withTRL = " on python gpus launcher save-dtype image claim"

func TestEveryFlagCountsOrIsRefused(t *testing.T) {
	p := &program{getenv: noEnv}
	seen := map[string]bool{}
	eachCommand(p.root(), func(c *cobra.Command) {
		path := c.CommandPath()
		var names []string
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" {
				names = append(names, f.Name)
			}
		})
		if len(names) == 0 {
			return
		}
		seen[path] = true
		modes := flagModes[path]
		if !assert.NotEmpty(t, modes, "%s is not in the table of modes", path) {
			return
		}
		for _, m := range modes {
			listed, but := strings.CutPrefix(m.refused, "but ")
			alone, _, err := p.root().Find(strings.Fields(path)[1:])
			require.NoError(t, err)
			require.NoError(t, alone.ParseFlags(strings.Fields(m.mode)))
			if alone.PreRunE != nil {
				require.NoError(t, alone.PreRunE(alone, nil), "%s %s", path, m.mode)
			}
			for _, n := range strings.Fields(listed) {
				assert.Contains(t, names, n, "%s has no such flag", path)
			}
			for _, n := range names {
				if strings.Contains(" "+m.mode+" ", " --"+n+" ") {
					continue // what selects the mode counts
				}
				fresh, _, err := p.root().Find(strings.Fields(path)[1:])
				require.NoError(t, err)
				f := fresh.Flags().Lookup(n)
				require.NoError(t, fresh.ParseFlags(append(strings.Fields(m.mode), "--"+n+"="+sampleOf(f))))
				err = nil
				if fresh.PreRunE != nil {
					err = fresh.PreRunE(fresh, nil)
				}
				if slices.Contains(strings.Fields(listed), n) != but {
					assert.ErrorAs(t, err, new(usageError), "%s %s --%s", path, m.mode, n)
				} else if err != nil {
					assert.NotContains(t, err.Error()+" ", "--"+n+" ", "%s %s", path, m.mode)
				}
			}
		}
	})
	for path := range flagModes {
		assert.True(t, seen[path], "there is no command %s with flags", path)
	}
}

// TestEveryFlagOfMembersReachesTheirRuns sets each flag in turn and looks for what changed.
func TestEveryFlagOfMembersReachesTheirRuns(t *testing.T) {
	base := trainable(t)
	expand := func(args ...string) (plan *rm.Plan, runs []rm.MemberRun) {
		p := &program{getenv: noEnv}
		c := p.trainMembers()
		var f membersFlags
		var run rm.Config
		c.ResetFlags()
		membersFlagsOf(c, &f, &run)
		require.NoError(t, c.ParseFlags(append([]string{"--train", "t", "--out", "o", "--base", base, "--m", "9"}, args...)))
		f.dropout = c.Flags().Changed("dropout")
		plan, err := f.read(run, nil)
		require.NoError(t, err)
		runs, err = plan.Expand()
		require.NoError(t, err, "%q", args)
		plan.Run.Open = nil
		return plan, runs
	}
	before, runsBefore := expand()
	carried := append([]string{"plan", "task", "index", "list", "json", "parallel", "with"}, trlFlags...) // how the plan is carried out: no settings of it
	c := (&program{}).trainMembers()
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || slices.Contains(carried, f.Name) {
			return
		}
		value := map[string]string{"holdout": "id%7", "schedule": "cosine", "votes": "soft", "optimizer": "adafactor", "lrs": "7e-4", "dropouts": "0.2", "seed": "7", "base": filepath.Join(base, "."), "grid-seed": "5", "pooling": "last"}[f.Name]
		if value == "" {
			value = sampleOf(f)
		}
		switch f.Name {
		case "base": // reaches the initialisation alone
			plan, _ := expand("--base", filepath.Dir(base)+"/./"+filepath.Base(base))
			assert.NotEqual(t, before.Run.Base, plan.Run.Base)
			return
		case "bases":
			f := membersFlags{bases: []string{base}}
			plan, err := f.read(rm.Config{}, nil)
			require.NoError(t, err)
			assert.Equal(t, []string{base}, plan.Bases)
			return
		}
		plan, runs := expand("--" + f.Name + "=" + value)
		assert.False(t, reflect.DeepEqual(before, plan) && reflect.DeepEqual(runsBefore, runs), "--%s changes nothing", f.Name)
	})
	for _, lr := range []string{"--lr=1e-5", "--lrs=1e-5"} {
		_, runs := expand(lr, "--dropout=0.3")
		for _, r := range runs {
			assert.Equal(t, 1e-5, r.Config.LR)
			assert.EqualValues(t, float32(0.3), r.Config.Dropout.Hidden)
		}
	}
	_, runs := expand("--dropout=0")
	for _, r := range runs {
		assert.Zero(t, r.Config.Dropout.Hidden, "none is what was said")
	}
}

func TestUnknownFlagsNameTheNearest(t *testing.T) {
	for args, want := range map[string]string{
		"train rm --learnrate 1":     "unknown flag: --learnrate (see",
		"train rm --warmups 1":       "did you mean --warmup?",
		"train members --dropot 1":   "did you mean --dropout",
		"eval --holdot x":            "did you mean --holdout?",
		"serve --admin-key-files k":  "did you mean --admin-key-file?",
		"bench load --max-fail 0.1":  "did you mean --max-failed?",
		"train sft --token-budgets1": "did you mean --token-budget?",
	} {
		code, _, stderr := command(t, "", strings.Fields(args)...)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, want)
	}
}

func TestFlagsOfModelsAreRefusedWhereADefaultConfigurationHasThem(t *testing.T) {
	dir := t.TempDir()
	config, keys := filepath.Join(dir, "serve.yaml"), filepath.Join(dir, "admin.keys")
	require.NoError(t, os.WriteFile(keys, []byte("an-administrators-key\n"), 0o600))
	serve := func(env string, args ...string) (int, string) {
		stderr := &output{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a server that starts ends at once
		code := run(ctx, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...), func(name string) string {
			return map[string]string{"WARM_DEFAULT_CONFIG": env}[name]
		}, strings.NewReader(""), io.Discard, stderr)
		return code, stderr.String()
	}
	require.NoError(t, os.WriteFile(config, []byte("admin_key_file: admin.keys\nmodels:\n  m: {members: ["+tinyModel(t, "one", nil)+"]}\n"), 0o600))
	for _, flag := range [][]string{{"--mode", "both"}, {"--dtype", "int8"}, {"--pooling", "last"}, {"--ending", "eos"}, {"--double-bos"}, {"--max-tokens", "9"}, {"--base", dir}, {"--alpha", "0.5"}, {"--ab-sample", "0.1"}, {"--swap", "drain"}} {
		code, stderr := serve(config, flag...)
		assert.Equal(t, exitUsage, code, flag)
		assert.Contains(t, stderr, flag[0]+" has no effect without --model")
	}
	code, stderr := serve(config, "--model-root", dir)
	assert.NotEqual(t, exitUsage, code, "the configuration has administrators' keys: %s", stderr)
	code, stderr = serve(filepath.Join(dir, "none.yaml"), "--max-tokens", "9")
	assert.NotEqual(t, exitUsage, code, "the embedded model is served so: %s", stderr)
}
