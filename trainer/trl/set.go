package trl

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Options say how runs are carried out.
type Options struct {
	Program  []byte   // members.py
	Python   string   // that has TRL
	GPUs     int      // of each member; from 2 on one process each, by torchrun
	Launcher []string // in front of the program instead, such as accelerate launch
	DType    string   // of the weights that are saved: float32 or bfloat16
	// Image and Claim are for Kubernetes: the image with TRL, and the claim of the
	// volume with everything.
	Image, Claim string
}

// Set are the runs of a plan, written out.
type Set struct {
	Plan    *rm.Plan
	Members []rm.MemberRun
	Dir     string // of the program and what it reads
	options Options
	jobs    []Job
	made    []*rm.Prepared // one a member
}

// places of what is written.
const (
	programFile = "members.py"
	startFile   = "start.json"
)

// Write writes the runs of a plan to Out/trl, for whoever carries them out.
func Write(plan *rm.Plan, members []rm.MemberRun, o Options) (*Set, error) {
	s := &Set{Plan: plan, Members: members, Dir: filepath.Join(plan.Out, "trl"), options: o}
	there, err := s.startsThere()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, err
	}
	s.Dir = dir
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	var r rm.Preparer
	defer r.Close() // read-only: nothing can be lost
	var errs []error
	for i := range members {
		if err := s.add(&r, i); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", members[i].Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := s.writeStart(&r, there); err != nil {
		return nil, err
	}
	for i := range s.jobs {
		if err := s.writeJSON(jobFile(i), s.jobs[i]); err != nil {
			return nil, err
		}
	}
	return s, s.writeScripts()
}

// startsThere says whether the shared starts are all there. Those that were made of other bases
// or pairs are refused, or removed where they are to be replaced.
func (s *Set) startsThere() (bool, error) {
	starts := s.Plan.Starts()
	there, err := s.Plan.CheckStarts()
	if err == nil || !s.Plan.Run.Replace || !errors.Is(err, loader.ErrExists) {
		return there == len(starts), err
	}
	for _, start := range starts {
		if err := os.RemoveAll(start.Dir); err != nil {
			return false, err
		}
	}
	return false, nil
}

func jobFile(i int) string { return fmt.Sprintf("member-%d.json", i+1) }

// add translates the i-th member and writes its pairs.
func (s *Set) add(r *rm.Preparer, i int) error {
	starts := s.Plan.Starts()
	start := starts[i%len(starts)]
	c := s.Members[i].Config.WithDefaults()
	c.Base, c.Pooling, c.Open = start.Config.Base, start.Config.Pooling, s.Plan.Run.Open
	p, err := r.Prepare(c)
	if err != nil {
		return err
	}
	if err := refusals(c, p); err != nil {
		return err
	}
	name := s.Members[i].Name
	file, err := s.writePairs("", p.Pairs)
	if err != nil {
		return err
	}
	s.made = append(s.made, p)
	s.jobs = append(s.jobs, Job{Run: p.ID, Start: filepath.Join("..", filepath.Base(start.Dir)),
		Out: filepath.Join("..", name), State: "state-" + name + "-" + p.ID[len("sha256:"):][:12], Pairs: file,
		Replace: c.Replace, PadTokenID: p.PadTokenID, Batch: c.Batch, Micro: micro(c, p), Dropout: c.Dropout,
		LoRA: c.LoRA, Head: p.Head, DType: s.options.DType, Launch: s.options.launch(), Arguments: arguments(c, p)})
	return nil
}

// launch is the command in front of the program; none for a single process.
func (o *Options) launch() []string {
	switch {
	case len(o.Launcher) > 0:
		return o.Launcher
	case o.GPUs > 1:
		return []string{o.Python, "-m", "torch.distributed.run", "--standalone", fmt.Sprintf("--nproc-per-node=%d", o.GPUs)}
	}
	return nil
}

// startJob is how the shared starts are made.
type startJob struct {
	Starts     []startOf `json:"starts"`
	ToldIn     string    `json:"told_in"`
	Pairs      string    `json:"pairs,omitempty"` // that the head is probed on; none keeps a base's head
	PadTokenID int32     `json:"pad_token_id"`
	Micro      int       `json:"micro"`
	Head       string    `json:"head"`
	Seed       uint64    `json:"seed"`
}

type startOf struct {
	Base string `json:"base"` // a directory that transformers opens
	Dir  string `json:"dir"`
	Told any    `json:"told"` // what it is made of
}

// writeStart writes how the shared starts are made and, where they are not there yet, what
// they are made of.
func (s *Set) writeStart(r *rm.Preparer, there bool) error {
	var job startJob
	for i, start := range s.Plan.Starts() {
		c := start.Config
		p, err := r.Prepare(c)
		if err != nil {
			return err
		}
		one := startOf{Dir: filepath.Join("..", filepath.Base(start.Dir))}
		job.ToldIn, one.Told = start.Told(p)
		if !there {
			if one.Base, err = c.WriteBase(filepath.Join(s.Dir, fmt.Sprintf("base-%d", i+1))); err != nil {
				return err
			}
		}
		job.Starts = append(job.Starts, one)
		if i > 0 {
			continue // the first decides the head of all
		}
		job.PadTokenID, job.Micro, job.Head, job.Seed = p.PadTokenID, micro(c, p), p.Head, s.Plan.Run.Seed
		if p.Body == nil && c.NoProbe {
			continue
		}
		if p.Body != nil && c.NoProbe {
			return fmt.Errorf("%s: it has no score head to keep, which --no-probe asks for", c.Base)
		}
		probed := make([]rm.Example, len(p.Probe))
		for k, at := range p.Probe {
			probed[k] = p.Pairs[at]
		}
		if job.Pairs, err = s.writePairs("probe-", probed); err != nil {
			return err
		}
	}
	return s.writeJSON(startFile, job)
}

// line is a pair as TRL's trainer takes it when it is tokens already.
type line struct {
	Chosen   []int32  `json:"chosen_ids"`
	Rejected []int32  `json:"rejected_ids"`
	Margin   *float64 `json:"margin,omitempty"`
}

// writePairs writes pairs to a file that is named by its content, and returns the name.
func (s *Set) writePairs(kind string, pairs []rm.Example) (string, error) {
	margins := slices.ContainsFunc(pairs, func(p rm.Example) bool { return p.Margin != 0 })
	f, err := os.CreateTemp(s.Dir, ".pairs-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // gone by then, unless something failed
	hash := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, hash))
	enc := json.NewEncoder(w)
	for i := range pairs {
		l := line{Chosen: pairs[i].Chosen.IDs, Rejected: pairs[i].Rejected.IDs}
		if margins {
			l.Margin = &pairs[i].Margin
		}
		err = errors.Join(err, enc.Encode(l))
	}
	if err := errors.Join(err, w.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return "", err
	}
	name := kind + "pairs-" + hex.EncodeToString(hash.Sum(nil))[:12] + ".jsonl"
	return name, os.Rename(f.Name(), filepath.Join(s.Dir, name))
}

func (s *Set) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return s.write(name, append(data, '\n'))
}

// write replaces a file in one step where it differs: a run may be reading it.
func (s *Set) write(name string, data []byte) error {
	path := filepath.Join(s.Dir, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return disk.Write(path, data)
}
