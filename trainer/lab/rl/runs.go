package rl

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/rl"
	"github.com/warmserve/warmserve/trainer/state"
)

// writePrompts writes the prompts as package rl reads them.
func (t *tuning) writePrompts() (string, error) {
	var lines []map[string]string
	for _, p := range t.a.Prompts {
		lines = append(lines, map[string]string{"prompt": p})
	}
	path, _, err := lab.WriteLines(t.l, "prompts", lines)
	return path, err
}

// planned is a fine-tuning to do.
type planned struct {
	kind, proxy string
	algorithm   rl.Algorithm // "" is RLOO
	seed        uint64
	kl          float64
}

// plan lists the fine-tunings, those of one server together.
func (t *tuning) plan() []planned {
	var out []planned
	algorithms := t.Algorithms
	if len(algorithms) == 0 {
		algorithms = []rl.Algorithm{""}
	}
	add := func(kind, proxy string, seed int) {
		for _, algorithm := range algorithms {
			for _, kl := range t.KL {
				out = append(out, planned{kind, proxy, algorithm, uint64(seed), kl})
			}
		}
	}
	singles := t.singles()
	for i := range t.Runs {
		add(contest.KindSingle, singles[min(i, len(singles)-1)], i+1)
	}
	kinds := map[string]string{"wa": contest.KindWA, "ens": contest.KindENS}
	for _, proxy := range t.several() {
		for i := range t.Runs {
			add(kinds[proxy], proxy, i+1)
		}
	}
	return out
}

// runs does all fine-tunings that were not done before and judges what came out.
func (t *tuning) runs(ctx context.Context) (out []fineTuning, err error) {
	var servers servers
	defer func() { err = errors.Join(err, servers.stop()) }()
	for _, p := range t.plan() {
		r, err := t.run(ctx, p, &servers)
		if err != nil {
			return nil, fmt.Errorf("%s, seed %d: %w", p.proxy, p.seed, err)
		}
		out = append(out, *r)
	}
	return out, nil
}

// servers are that of one proxy and, where steps are watched, the control's.
type servers struct {
	proxy, control *rl.Client
	of             string // the proxy
	ends           []func() error
}

func (s *servers) stop() error {
	var errs []error
	for _, end := range s.ends {
		errs = append(errs, end())
	}
	*s = servers{}
	return errors.Join(errs...)
}

// patience is how long rewards of one request are waited for, the most that a server allows. It is in
// this process and slow only where other work has the processors, which must not end a run of hours.
const patience = 10 * time.Minute

// serve starts the servers of a proxy, unless they are running.
func (t *tuning) serve(ctx context.Context, s *servers, proxy string) error {
	if s.of == proxy {
		return nil
	}
	if err := s.stop(); err != nil {
		return err
	}
	start := func(name string, members []string, mode string) (*rl.Client, error) {
		url, stop, err := t.l.Serve(ctx, name, members, mode)
		if err != nil {
			return nil, fmt.Errorf("serving %s: %w", name, err)
		}
		s.ends = append(s.ends, stop)
		return rl.NewClient(rl.ClientConfig{URL: url, Attempt: patience, Timeout: 6 * patience,
			Say: func(message string) { t.l.Say("%s", message) }})
	}
	mode := proxy
	if proxy != "wa" && proxy != "ens" {
		mode = "member:" + proxy
	}
	var err error
	if s.proxy, err = start("rl-"+proxy, t.members, mode); err != nil {
		return err
	}
	if !t.Unwatched {
		if s.control, err = start("control", t.a.Control.Members, "wa"); err != nil {
			return err
		}
	}
	s.of = proxy
	return nil
}

// run does one fine-tuning and judges its checkpoints, unless that was done before. What came of it is
// kept, the policies are not: those of all runs would be a hundred checkpoints.
func (t *tuning) run(ctx context.Context, p planned, s *servers) (*fineTuning, error) {
	dir, there, err := t.dir(p)
	if err != nil {
		return nil, err
	}
	name, err := t.name(dir)
	if err != nil {
		return nil, err
	}
	out, err := lab.Stored(t.l, name, t.whole, func() (f fineTuning, err error) {
		if !there {
			if err := t.train(ctx, p, dir, s); err != nil {
				return f, err
			}
		}
		return t.judged(ctx, p, dir)
	})
	if err != nil {
		return nil, err
	}
	return &out, t.forget(dir)
}

// name is what a fine-tuning in a directory, whose name holds all that decides its policies, is kept by:
// its judges besides.
func (t *tuning) name(dir string) (string, error) {
	second, err := t.l.Contents(t.second)
	if err != nil {
		return "", err
	}
	id, err := lab.Fingerprint([]any{filepath.Base(dir), second, t.Judged})
	return "tuned-" + id, err
}

// whole says whether a fine-tuning has all that is measured of one.
func (t *tuning) whole(f fineTuning) bool {
	return len(f.Steps) == t.Steps && len(f.Judged) == t.Kept+1 &&
		!slices.ContainsFunc(f.Judged, func(j judgedAnswers) bool { return len(j.Control) != t.Judged*len(t.a.Prompts) })
}

// forget removes the policies of a run.
func (t *tuning) forget(dir string) error {
	var errs []error
	for k := 1; k <= t.Kept+1; k++ {
		errs = append(errs, os.RemoveAll(t.checkpoint(dir, k)))
	}
	return errors.Join(errs...)
}

// checkpoint is the directory of the k-th policy of a run, counted from 1; the last is its result.
func (t *tuning) checkpoint(dir string, k int) string {
	if k > t.Kept {
		return dir
	}
	return fmt.Sprintf("%s-%d", dir, k)
}

// train does a fine-tuning, or goes on with it.
func (t *tuning) train(ctx context.Context, p planned, dir string, s *servers) error {
	if err := t.serve(ctx, s, p.proxy); err != nil {
		return err
	}
	c := t.config(p)
	c.Policy, c.Prompts, c.Out, c.Workers = t.a.Policy, []string{t.prompts}, dir, t.l.Workers
	c.Scorer, c.Store = s.proxy, t.l.Store
	if s.control != nil {
		c.Control = s.control
	}
	what := strings.TrimSpace(fmt.Sprintf("rl %s by %s, seed %d", p.algorithm, p.proxy, p.seed))
	if t.l.Size == lab.Standard { // a state of gigabytes, which takes as long as a step
		c.SaveEvery = 15
	}
	c.Progress = func(r rl.Progress) {
		if r.Metrics != nil {
			t.l.Tell(what, r.Metrics.Step, r.Steps)
		}
	}
	defer t.l.Ended(what)
	_, err := rl.Train(ctx, c)
	return err
}

// judged reads what each step of a fine-tuning saw, and judges its checkpoints.
func (t *tuning) judged(ctx context.Context, p planned, dir string) (out fineTuning, err error) {
	out = fineTuning{Kind: p.kind, Proxy: p.proxy, Algorithm: p.algorithm, Seed: p.seed, KL: p.kl}
	if out.Steps, err = readSteps(filepath.Join(dir, state.MetricsFile), !t.Unwatched); err != nil {
		return out, err
	}
	for k := 1; k <= t.Kept+1; k++ {
		j, err := t.judge(ctx, t.checkpoint(dir, k), p)
		if err != nil {
			return out, err
		}
		j.Step = k * t.Steps / (t.Kept + 1)
		out.Judged = append(out.Judged, *j)
	}
	return out, nil
}

// config is what decides a fine-tuning, but for the models and prompts.
func (t *tuning) config(p planned) rl.Config {
	c := rl.Config{Reward: p.proxy, ControlReward: "control", Algorithm: cmp.Or(p.algorithm, rl.RLOO), Batch: t.Batch,
		Answers: t.Answers, Steps: t.Steps,
		KL: p.kl, KLIn: rl.InReward, Shaping: rl.Shaping{Scale: true}, Tokens: t.Tokens, LR: t.LR,
		Clip: 1, Warmup: 0.1,
		Seed: p.seed, DataSeed: p.seed, Keep: t.Kept}
	if t.Unwatched {
		c.ControlReward = ""
	}
	if c.Algorithm == rl.GRPO { // as its own paper has it
		c.KLIn = rl.InLoss
	}
	return c
}

// dir is where a fine-tuning is kept: its name holds all that decides it, the
// contents of the models in place of their paths.
func (t *tuning) dir(p planned) (dir string, there bool, err error) {
	policy, err := t.l.CheckpointHash(t.a.Policy)
	if err != nil {
		return "", false, err
	}
	proxies, err := t.l.Contents(lab.Model{Members: t.members})
	if err != nil {
		return "", false, err
	}
	control, err := t.l.Contents(t.a.Control)
	if err != nil {
		return "", false, err
	}
	return t.l.KeptRun("rl-"+p.proxy, t.config(p), policy, proxies, control, t.a.Prompts)
}

// seedJudged draws the answers that judge the policies of a run. It is the run's own: what intervals
// over the seeds are over has to differ in its answers too, and runs that are compared share them.
func seedJudged(run uint64) uint64 { return contest.SeedJudged + run<<32 }

// judge has a policy of a run answer every prompt, and the control and its proxy score that.
func (t *tuning) judge(ctx context.Context, policy string, p planned) (*judgedAnswers, error) {
	s, err := contest.Draw(ctx, t.l, policy, t.a.Policy, t.a.Prompts, t.Judged, t.Tokens, seedJudged(p.seed))
	if err != nil {
		return nil, err
	}
	out := &judgedAnswers{Tokens: s.Tokens, KL: s.KL}
	if out.Control, err = contest.Score(ctx, t.l, t.a.Control, s); err != nil {
		return nil, err
	}
	if len(t.second.Members) > 0 {
		if out.Second, err = contest.Score(ctx, t.l, t.second, s); err != nil {
			return nil, err
		}
	}
	out.Proxy, err = t.proxyRewards(ctx, p.proxy, s)
	return out, err
}

// readSteps reads what each step saw, the control's reward too where it was watched.
func readSteps(path string, watched bool) ([]stepMetrics, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []stepMetrics
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var m rl.Metrics
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", path, len(out)+1, err)
		}
		if (m.Control != nil) != watched {
			return nil, fmt.Errorf("%s: step %d has a control reward: %t, want %t", path, len(out)+1, !watched, watched)
		}
		step := stepMetrics{Reward: m.Reward, KL: m.KL, Entropy: m.Entropy, Length: m.Length, Ended: m.Ended}
		if watched {
			step.Control = *m.Control
		}
		out = append(out, step)
	}
	return out, lines.Err()
}
