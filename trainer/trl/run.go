package trl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/trainer/state"
	"github.com/warmserve/warmserve/warm/reward"
)

// grace is how long a run has to save its state when it is told to stop, and what it has left behind to end
// when it has ended.
var grace = 5 * time.Minute

// told is a line that the program prints.
type told struct {
	Message  string
	Step     int
	Steps    int
	Loss     float64
	Accuracy float64
	LR       float64
	Norm     float64
	Tokens   int
}

// Run carries out the member of an index, counted from 0, on this machine, or on from where
// an earlier call was stopped. What the program says of itself goes to member-K.log in Dir.
func (s *Set) Run(ctx context.Context, i int, progress func(rm.Progress)) error {
	number := strconv.Itoa(i + 1)
	logName := filepath.Join(s.Dir, "member-"+number+".log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // what could not be written there is lost alone
	last := &tail{most: 1024}
	cmd := exec.CommandContext(ctx, s.options.Python, filepath.Join(s.Dir, programFile), number)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = io.MultiWriter(log, last)
	out := &lines{each: func(line []byte) {
		var t told
		switch {
		case len(line) == 0:
			return
		case json.Unmarshal(line, &t) != nil || t == (told{}):
			fmt.Fprintf(log, "%s\n", line) // a library's
			return
		}
		progress(rm.Progress{Message: t.Message, Step: t.Step, Steps: t.Steps, Loss: t.Loss, Accuracy: t.Accuracy,
			LR: t.LR, Norm: t.Norm, Tokens: t.Tokens})
	}}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w; --python names a Python with TRL", err)
	}
	err = cmd.Wait()
	out.each(out.rest) // a line without an end
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // a process that a library has left keeps the pipe
		return nil
	case ctx.Err() != nil:
		return rm.ErrInterrupted
	case errors.As(err, &exit) && last.Len() > 0:
		return fmt.Errorf("%w; the end of %s:\n%s", err, logName, bytes.TrimSpace(last.Bytes()))
	}
	return fmt.Errorf("%w; see %s", err, logName)
}

// lines takes what is written apart.
type lines struct {
	each func(line []byte)
	rest []byte // of the last, which has not ended
}

const longestLine = 1 << 20 // longer ones are told in parts

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ended := bytes.Cut(l.rest, []byte("\n"))
		if !ended && len(l.rest) < longestLine {
			return len(p), nil
		}
		l.each(line)
		l.rest = rest
	}
}

// tail keeps the end of what is written.
type tail struct {
	bytes.Buffer
	most int
}

func (t *tail) Write(p []byte) (int, error) {
	if len(p) > t.most {
		t.Reset()
	}
	t.Buffer.Write(p[max(0, len(p)-t.most):])
	t.Next(max(0, t.Len()-t.most))
	return len(p), nil
}

// resultFile is what the program tells of a member's run, beside the weights.
const resultFile = "trl.json"

// Check looks for a member's result: nil when there is none. It opens the result, reads all
// of its weights and holds its tokenizer against the base's, once; what it finds good gets
// [state.ResultFile], as the results of package rm have it.
func (s *Set) Check(i int) (*rm.Result, error) {
	dir, job, p := s.Members[i].Config.Out, &s.jobs[i], s.made[i]
	var made struct {
		Run   string `json:"run"`
		Steps int    `json:"steps"`
	}
	text, err := os.ReadFile(filepath.Join(dir, resultFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.inTheWay(dir)
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, resultFile), err)
	}
	if made.Run != job.Run {
		return nil, s.another(dir)
	}
	var before rm.Result
	if old, err := os.ReadFile(filepath.Join(dir, state.ResultFile)); err == nil && json.Unmarshal(old, &before) == nil &&
		before.Run == job.Run {
		before.Before = true
		return &before, nil
	}
	if err := s.checkWeights(dir, s.Members[i].Config.Base); err != nil {
		if s.Plan.Run.Replace { // the next run replaces it
			return nil, os.Remove(filepath.Join(dir, resultFile))
		}
		return nil, fmt.Errorf("%s: %w; --replace trains it again", dir, err)
	}
	r := &rm.Result{Run: job.Run, Config: s.Members[i].Config.WithDefaults(), Hashes: p.Hashes, Base: p.Base,
		Steps: made.Steps, Pairs: len(p.Pairs), Drop: p.Dropped}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return r, disk.Write(filepath.Join(dir, state.ResultFile), append(data, '\n'))
}

// inTheWay refuses what is where a result is to be and is none, unless it is to be replaced.
func (s *Set) inTheWay(dir string) error {
	if entries, err := os.ReadDir(dir); len(entries) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	return s.another(dir)
}

func (s *Set) another(dir string) error {
	if s.Plan.Run.Replace {
		return nil
	}
	return fmt.Errorf("%s: %w: it holds the result of another run; name another directory, or --replace it", dir, loader.ErrExists)
}

// checkWeights opens a result and its start, and reads all of the result's weights.
func (s *Set) checkWeights(dir, start string) (err error) {
	c, err := loader.Open(dir)
	if err != nil {
		return err
	}
	defer c.Close() // read-only: nothing can be lost
	first, err := loader.Open(start)
	if err != nil {
		return err
	}
	defer first.Close()
	if _, err = reward.InspectCheckpoint(c, reward.Config{}); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		same bool
	}{
		{"tokenizer.json", bytes.Equal(c.Tokenizer, first.Tokenizer)},
		{"the chat template", c.ChatTemplate == first.ChatTemplate},
		{"the names of tensors", slices.Equal(c.Names(), first.Names())},
	} {
		if !f.same {
			return fmt.Errorf("%s differs from the start's, %s", f.name, start)
		}
	}
	return loader.CheckFinite(c, nil)
}
