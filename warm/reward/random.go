package reward

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// RandomPrefix in front of the path of a config.json makes a member of random
// weights, for load tests: any architecture at any size without a checkpoint.
// It has no tokenizer and scores token ids alone.
const RandomPrefix = "random:"

// randomSeed is the seed of every random model, so that its revision is the same
// each time.
const randomSeed = 1

func openRandom(ctx context.Context, d *Deployment, c Config, path string, workers int) error {
	if len(d.members) != 1 || c.Mode != ModeWA || c.Base != "" {
		return errors.New("a random model is served alone, in mode wa")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cfg, err := parseConfig(path, data)
	if err != nil {
		return err
	}
	if err := readAs(cfg, data, c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if d.Encoder, err = newEncoder(&loader.Checkpoint{}, cfg, c); err != nil {
		return err
	}
	l := &loading{config: c, workers: workers, d: d, interrupt: interruptOf(ctx)}
	if d.average, err = l.load("random weights", cfg, model.NewRandom(cfg, randomSeed)); err != nil {
		return err
	}
	d.models = make([]model.Model, 1)
	d.Warnings = append(d.Warnings, "the weights are random: rewards mean nothing")
	d.seal("")
	return nil
}
