package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/warm/serve"
)

// sources are where commands take checkpoints from, besides directories.
func (p *program) sources() serve.Sources { return sourcesOf(p.getenv) }

func sourcesOf(getenv func(string) string) serve.Sources {
	return serve.Sources{
		Packs: map[string]func() serve.Pack{embedded.Prefix: func() serve.Pack { return embedded.New() }},
		Hub:   hub.FromEnv(getenv),
	}
}

// open returns what opens the checkpoints that a command names, and shows on
// stderr what comes from the hub.
func (p *program) open(ctx context.Context) func(ref string) (*loader.Checkpoint, error) {
	var d downloads
	open := p.sources().Opening(ctx, d.progress(p))
	return func(ref string) (*loader.Checkpoint, error) {
		c, err := open.Open(ref)
		d.finish()
		return c, err
	}
}

// downloads shows one download at a time.
type downloads struct {
	bar  *progress
	name hub.Name
}

func (d *downloads) progress(p *program) hub.Progress {
	return func(name hub.Name, done, total int64) {
		if d.bar == nil || d.name != name {
			d.finish()
			d.name, d.bar = name, p.progressOf(newDisplay(p.stderr), total, "downloading "+name.String())
			d.bar.from = done // of an earlier attempt
		}
		d.bar.set(done)
	}
}

func (d *downloads) finish() {
	if d.bar != nil {
		d.bar.finish()
	}
	d.bar = nil
}

func (p *program) pull() *cobra.Command {
	return &cobra.Command{
		Use:   "pull NAME…",
		Short: "Bring checkpoints from the Hugging Face hub into its cache on this disk",
		Long: `pull brings what a checkpoint is made of, by its name org/name or org/name@revision,
into the hub's own cache, verifies it and prints the directory. What is there
already does not come again, and an interrupted download goes on.

Every command takes such names in place of directories and pulls by itself; pull
is for doing so beforehand, as where servers have no way to the hub.

HF_HOME or HF_HUB_CACHE say where the cache is, HF_TOKEN opens private and gated
models, HF_ENDPOINT names another hub, HF_HUB_OFFLINE=1 keeps to the cache.`,
		Example: `  warm pull Skywork/Skywork-Reward-V2-Qwen3-0.6B
  warm serve --model m=Skywork/Skywork-Reward-V2-Qwen3-0.6B`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			client := hub.FromEnv(p.getenv)
			for _, arg := range args {
				n, ok := hub.ParseName(arg)
				if !ok {
					return usagef("%q is no name on a hub: want org/name or org/name@revision", arg)
				}
				var d downloads
				s, err := client.Snapshot(c.Context(), n, d.progress(p))
				d.finish()
				if err != nil {
					return err
				}
				if s.Stale != nil {
					fmt.Fprintf(p.stderr, "warning: %s as it was when the hub could last be asked: %v\n", n, s.Stale)
				}
				fmt.Fprintln(p.stdout, s.Dir)
			}
			return nil
		},
	}
}
