package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Task is a piece of a lab's work that needs no other but those before it: the
// training of one member, or an experiment that measures.
type Task struct {
	// Name says what is done, such as "clean: member-2" or "measure corruption".
	Name string `json:"name"`
	// Experiments need the task, the first of them first.
	Experiments []string `json:"experiments"`
	// Measures says that the task is an experiment, and wants those before it done.
	Measures bool `json:"measures"`
	// Done says that the member is trained already.
	Done bool `json:"done"`
	// Tokens are about how many a member learns from, and FLOP the operations that
	// takes: 6 for each weight in a product and token. 0 for experiments.
	Tokens int64   `json:"tokens,omitempty"`
	FLOP   float64 `json:"flop,omitempty"`

	training   *Training
	member     int
	experiment *Experiment
}

// Tasks returns the members that experiments declare beforehand, each once, and
// behind them the experiments.
func (l *Lab) Tasks(experiments []*Experiment) ([]Task, error) {
	var out []Task
	at := map[string]int{}        // of the first task of a plan's directory
	weights := map[string]int64{} // of bases
	for _, e := range experiments {
		if e.Trainings == nil {
			continue
		}
		trainings, err := e.Trainings(l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		for _, t := range trainings {
			tasks, err := l.memberTasks(t, weights)
			if err != nil {
				return nil, err
			}
			dir := tasks[0].training.Plan.Out
			first, there := at[dir]
			if !there {
				at[dir] = len(out)
				first = len(out)
				out = append(out, tasks...)
			}
			for i := range tasks {
				x := &out[first+i]
				x.Experiments = append(x.Experiments, e.Name)
			}
		}
	}
	for _, e := range experiments {
		out = append(out, Task{Name: "measure " + e.Name, Experiments: []string{e.Name}, Measures: true,
			experiment: e})
	}
	return out, nil
}

func (l *Lab) memberTasks(t Training, weights map[string]int64) ([]Task, error) {
	dir, err := l.planDir(t.Name, t.Plan)
	if err != nil {
		return nil, err
	}
	base := t.base()
	if weights[base] == 0 {
		if weights[base], err = weightsInProducts(base); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	t.Plan.Out = dir
	runs, err := t.Plan.Expand()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("%s: no members", t.Name)
	}
	var out []Task
	for i := range runs {
		tokens, err := tokensOf(&runs[i].Config)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		_, missing := os.Stat(filepath.Join(runs[i].Config.Out, "config.json"))
		out = append(out, Task{Name: t.Name + ": " + runs[i].Name, Done: missing == nil, Tokens: tokens,
			FLOP:     6 * float64(weights[base]) * float64(tokens),
			training: &t, member: i})
	}
	return out, nil
}

// bytesPerToken is about that of English with a vocabulary of 8,192 to 50,000.
const bytesPerToken = 4

// tokensOf is about how many tokens a run learns from.
func tokensOf(c *rm.Config) (int64, error) {
	var bytes, pairs int64
	for _, path := range c.Train {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		pairs += int64(strings.Count(string(text), "\n"))
		bytes += int64(len(text))
	}
	if pairs == 0 {
		return 0, nil
	}
	epochs := c.Epochs
	if epochs == 0 {
		epochs = 1
	}
	seen := epochs * float64(pairs)
	if c.Steps > 0 {
		seen = math.Min(seen, float64(c.Steps*c.Batch))
	}
	return int64(seen * float64(bytes) / float64(pairs) / bytesPerToken), nil
}

// Weights counts the weights of the base but for the embeddings.
func (l *Lab) Weights() (int64, error) { return weightsInProducts(l.Base) }

// weightsInProducts counts the weights of a checkpoint but for the embeddings,
// which are looked up.
func weightsInProducts(dir string) (int64, error) {
	c, err := loader.Open(dir)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var sum int64
	for _, name := range c.Names() {
		if strings.Contains(name, "embed") || strings.Contains(name, "lm_head") ||
			strings.Contains(name, "wte") || strings.Contains(name, "wpe") {
			continue
		}
		sum += int64(loader.Elements(c, name))
	}
	return sum, nil
}

// errTask is returned for a task that Tasks did not make.
var errTask = errors.New("not a task of this lab")

// RunTask does a task. The result of an experiment is returned, nil for a member.
func (l *Lab) RunTask(ctx context.Context, t *Task) (*Result, error) {
	switch {
	case t.experiment != nil:
		return l.Run(ctx, t.experiment)
	case t.training != nil:
		return nil, l.Member(ctx, t.training.Name, t.training.Plan, t.member)
	}
	return nil, errTask
}
