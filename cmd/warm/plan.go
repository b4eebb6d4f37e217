package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/plan"
)

// namedShapes are the configurations that --model knows by name.
var namedShapes = map[string]string{
	"qwen3-0.6b":    qwen3(1024, 3072, 28, 16),
	"qwen3-4b":      qwen3(2560, 9728, 36, 32),
	"qwen3-8b":      qwen3(4096, 12288, 36, 32),
	"llama-3.1-8b":  llama(4096, 14336, 32, 32),
	"llama-3.1-70b": llama(8192, 28672, 80, 64),
}

func qwen3(hidden, intermediate, layers, heads int) string {
	return shapeOf("Qwen3ForSequenceClassification", hidden, intermediate, layers, heads, 151936)
}

func llama(hidden, intermediate, layers, heads int) string {
	return shapeOf("LlamaForSequenceClassification", hidden, intermediate, layers, heads, 128256)
}

// shapeOf is the config.json of a decoder with 8 key heads of 128.
func shapeOf(class string, hidden, intermediate, layers, heads, vocab int) string {
	return fmt.Sprintf(`{"architectures": [%q], "hidden_size": %d, "intermediate_size": %d, "num_hidden_layers": %d,
		"num_attention_heads": %d, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": %d,
		"max_position_embeddings": 131072, "id2label": {"0": "LABEL_0"}}`, class, hidden, intermediate, layers, heads, vocab)
}

// shapeNamed returns what a plan needs to know of a config.json or a named shape.
func shapeNamed(name string) (plan.Model, error) {
	text, ok := namedShapes[name]
	if !ok {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return plan.Model{}, fmt.Errorf("--model %q: neither a config.json nor one of %s", name,
				strings.Join(slices.Sorted(maps.Keys(namedShapes)), ", "))
		} else if err != nil {
			return plan.Model{}, err
		}
		text = string(data)
	}
	cfg, err := model.ParseConfig([]byte(text))
	if err != nil {
		return plan.Model{}, fmt.Errorf("%s: %w", name, err)
	}
	n := cfg.Network()
	m := plan.Model{Name: name, FLOPs: n.FLOPs, Shares: n.Causal}
	for _, p := range n.Params() {
		m.Parameters += float64(p.Len())
	}
	return m, nil
}

func (p *program) plan() *cobra.Command {
	w := plan.Wish{Seed: 1}
	var shape, device string
	var gbits, storage float64
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan --model SHAPE --tokens-per-second N --device DEVICE",
		Short: "Say how many replicas a load takes, and what they cost",
		Long: `plan computes from measured shares of a device's peak how many tokens a second a card
or a core scores, how many replicas a load takes, what a swap moves over network and
storage, and what the same scoring takes inside the trainer. It simulates the queue,
by the server's own rules, for the times that groups wait, through a swap and with a
replica lost. Everything that is assumed is printed.

The load is --tokens-per-second, each answer counted with its prompt, or --gpus that
generate --gpu-tokens-per-second each.`,
		Example: `  warm plan --model llama-3.1-8b --tokens-per-second 500000 --device h100
  warm plan --model runs/rm-1/config.json --gpus 64 --gpu-tokens-per-second 3000 --device h200 --json
  warm plan --model llama-3.1-70b --tokens-per-second 100000 --device h200 --members 4 --replicas 100`,
		Args: arguments(cobra.NoArgs),
		RunE: func(_ *cobra.Command, _ []string) error {
			var err error
			if w.Model, err = shapeNamed(shape); err != nil {
				return usageError{err}
			}
			if w.Device, err = plan.DeviceNamed(device); err != nil {
				return usageError{err}
			}
			w.Network, w.Storage = gbits*1e9/8, storage*1e9
			r, err := plan.Make(w)
			if err != nil {
				return usageError{err}
			}
			return p.tell(r, asJSON)
		},
	}
	l := c.Flags()
	l.StringVar(&shape, "model", "", "a config.json, or a `shape`: "+strings.Join(slices.Sorted(maps.Keys(namedShapes)), ", "))
	l.StringVar(&device, "device", "", "what computes: "+strings.Join(plan.Devices(), ", "))
	l.Float64Var(&w.Tokens, "tokens-per-second", 0, "tokens that come in a second, each answer with its prompt")
	l.Float64Var(&w.GPUs, "gpus", 0, "GPUs of a run that generate, instead of --tokens-per-second")
	l.Float64Var(&w.GPUTokens, "gpu-tokens-per-second", 2500, "tokens that one of them generates in a second")
	l.IntVar(&w.Answers, "answers", 8, "answers to a prompt, in one request")
	l.IntVar(&w.Prompt, "prompt", 256, "tokens of a prompt")
	l.IntVar(&w.Response, "response", 512, "tokens of an answer, on average")
	l.IntVar(&w.Units, "units", 1, "cards or cores of a replica")
	l.Float64Var(&w.Load, "load", 0.7, "share of what a replica can do that it is given")
	l.IntVar(&w.Spare, "spare", 1, "replicas that may be missing")
	l.IntVar(&w.Members, "members", 4, "checkpoints that a revision is the average of")
	l.IntVar(&w.Replicas, "replicas", 0, "replicas of the swap (default those of the plan)")
	l.Float64Var(&gbits, "network", 25, "Gbit/s into one replica")
	l.Float64Var(&storage, "storage", 10, "GB/s out of the store of checkpoints, for all together")
	l.Uint64Var(&w.Seed, "seed", w.Seed, "of the simulation")
	l.BoolVar(&asJSON, "json", false, "print JSON")
	refuses(c, rule{when: func() bool { return !c.Flags().Changed("gpus") }, why: "without --gpus", flags: []string{"gpu-tokens-per-second"}},
		rule{when: given(c, "gpus"), why: "with --gpus, which say the load", flags: []string{"tokens-per-second"}})
	for _, name := range []string{"model", "device"} {
		_ = c.MarkFlagRequired(name) // the flag is there
	}
	return c
}
