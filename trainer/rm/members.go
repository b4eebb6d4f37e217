package rm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model/nn"
)

// Plan is the training of several members that share their initialisation.
type Plan struct {
	// Out is the directory of all: the shared initialisation in init or, with
	// several bases, init-1, init-2 and so on, and the members in member-1 on.
	Out string `json:"out"`
	// Run is what the members have in common. Its Base is the one
	// initialisation, unless Bases are given.
	Run Config `json:"run"`
	// Bases are several starts along one training trajectory ("Baklava"): each
	// member takes one, in turn. All share the head probed on the first.
	Bases []string `json:"bases,omitempty"`
	// Members are settings of Run by their JSON names, one object a member, that
	// differ from Run. Empty means M members drawn from Grid.
	Members []json.RawMessage `json:"members,omitempty"`
	// M is the number of members drawn from Grid; 0 is 4.
	M int `json:"m,omitempty"`
	// Grid has for a setting of Run, by its JSON name, the values to choose from.
	// Rates that neither it nor Run names are those of DefaultGrid; without a grid
	// dropouts, too. Members get different combinations as long as there are any.
	Grid map[string][]json.RawMessage `json:"grid,omitempty"`
	// GridSeed decides which combinations are drawn.
	GridSeed uint64 `json:"grid_seed,omitempty"`
}

// DefaultGrid returns learning rates and dropouts about the usual ones for a
// hidden size, in the ratios of the paper's grid.
func DefaultGrid(hidden int) map[string][]json.RawMessage {
	peak := min(1e-3, 0.064/float64(hidden)) // 1e-3 at 64, 8e-5 at 768, 1.6e-5 at 4096
	grid := map[string][]json.RawMessage{}
	for _, f := range []float64{0.5, 0.75, 1} {
		grid["lr"] = append(grid["lr"], json.RawMessage(fmt.Sprintf("%.3g", f*peak)))
	}
	for _, p := range []string{"0", "0.05", "0.1"} {
		grid["dropout"] = append(grid["dropout"], json.RawMessage(`{"hidden":`+p+`}`))
	}
	return grid
}

// MemberRun is one member of a plan.
type MemberRun struct {
	Name   string  `json:"name"`
	Config Config  `json:"config"`
	Result *Result `json:"result,omitempty"`
	Err    error   `json:"-"`
	Error  string  `json:"error,omitempty"`
}

// Validate reports every setting that cannot be, of the members as well.
func (p *Plan) Validate() error {
	if p.Out == "" {
		return errors.New("out: no directory")
	}
	if p.Run.Base == "" && len(p.Bases) == 0 {
		return errors.New("base: no checkpoint directory")
	}
	if p.M < 0 {
		return fmt.Errorf("m: %d, want 1 or more", p.M)
	}
	if len(p.Members) > 0 && (p.M > 0 || p.Grid != nil || p.GridSeed != 0) {
		return errors.New("members: give a list or a grid, not both")
	}
	if len(p.Bases) > 0 && p.Run.Base != "" {
		return errors.New("base and bases: give one of them")
	}
	if _, ok := p.Grid["lr"]; ok && p.Run.LR != 0 {
		return errors.New("lr: it is in the grid, too: give one of them")
	}
	if _, ok := p.Grid["dropout"]; ok && p.Run.Dropout.Hidden != 0 {
		return errors.New("dropout: it is in the grid, too: give one of them")
	}
	return nil
}

func (p *Plan) bases() []string {
	if len(p.Bases) > 0 {
		return p.Bases
	}
	return []string{p.Run.Base}
}

func (p *Plan) initDir(i int) string {
	if len(p.bases()) == 1 {
		return filepath.Join(p.Out, "init")
	}
	return filepath.Join(p.Out, fmt.Sprintf("init-%d", i+1))
}

// Expand returns the runs of the plan. Each begins at an initialisation of the
// plan, which Initialize writes.
func (p *Plan) Expand() ([]MemberRun, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	settings := p.Members
	if len(settings) == 0 {
		var err error
		if settings, err = p.draw(); err != nil {
			return nil, err
		}
	}
	out := make([]MemberRun, len(settings))
	var errs []error
	for i, s := range settings {
		m := MemberRun{Name: fmt.Sprintf("member-%d", i+1), Config: p.Run}
		c := &m.Config
		c.Seed, c.DataSeed = p.Run.Seed+uint64(i), p.Run.DataSeed+uint64(i)
		dec := json.NewDecoder(bytes.NewReader(s))
		dec.DisallowUnknownFields()
		if err := dec.Decode(c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
			continue
		}
		if same := slices.Equal(c.Test, p.Run.Test) && c.Holdout == p.Run.Holdout &&
			c.SplitSeed == p.Run.SplitSeed; !same {
			errs = append(errs, fmt.Errorf("%s: test, holdout and split_seed are the plan's: no member may learn from another's test pairs", m.Name))
		}
		if c.Pooling != p.Run.Pooling {
			errs = append(errs, fmt.Errorf("%s: pooling is the plan's: members share their score head", m.Name))
		}
		c.Base, c.NoProbe, c.Pooling, c.Open = p.initDir(i%len(p.bases())), true, "", nil
		if c.Store != nil { // the start's name on every machine, and its place on this one
			start := c.Base
			c.Base = c.Store.Name(start)
			c.Open = func(string) (*loader.Checkpoint, error) { return loader.Open(start) }
		}
		c.Out = filepath.Join(p.Out, m.Name)
		if c.TensorBoard != "" {
			c.TensorBoard = filepath.Join(c.TensorBoard, m.Name)
		}
		if err := c.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
		}
		out[i] = m
	}
	return out, errors.Join(errs...)
}

// grid is what the members are drawn from: what the plan names, and the default for the
// rest.
func (p *Plan) grid() (map[string][]json.RawMessage, error) {
	grid := maps.Clone(p.Grid)
	if grid == nil {
		grid = map[string][]json.RawMessage{}
	}
	_, rates := grid["lr"]
	_, dropouts := grid["dropout"]
	rates, dropouts = rates || p.Run.LR != 0, dropouts || p.Run.Dropout.Hidden != 0
	if rates && dropouts {
		return grid, nil
	}
	first := p.Run
	first.Base = p.bases()[0]
	b, err := first.openBase()
	if err != nil {
		return nil, err
	}
	usual := DefaultGrid(b.parsed.Hidden)
	if !rates {
		grid["lr"] = usual["lr"]
	}
	if !dropouts && p.Grid == nil {
		grid["dropout"] = usual["dropout"]
	}
	return grid, b.Checkpoint.Close()
}

// draw chooses combinations of the grid.
func (p *Plan) draw() ([]json.RawMessage, error) {
	grid, err := p.grid()
	if err != nil {
		return nil, err
	}
	var keys []string
	for k, v := range grid {
		if len(v) == 0 {
			return nil, fmt.Errorf("grid: %s: no value", k)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	total := 1
	for _, k := range keys {
		if total *= len(grid[k]); total > 1<<20 {
			return nil, errors.New("grid: more than a million combinations")
		}
	}
	m := p.M
	if m == 0 {
		m = 4
	}
	order := nn.Permutation(total, nn.Mix(p.GridSeed, seedChoice))
	var out []json.RawMessage
	for i := range m {
		at := order[i%total]
		set := map[string]json.RawMessage{}
		for _, k := range keys {
			n := len(grid[k])
			set[k] = grid[k][at%n]
			at /= n
		}
		data, err := json.Marshal(set)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// TrainMembers trains members of the plan, up to parallel of them side by side, each
// with its share of the workers; for small models that is faster than one after
// another, and no bit differs. Progress is told the index of the member; it may be
// nil, and is called by one goroutine at a time for each member. A member's failure
// stops no other. The error joins those of all members.
func (p *Plan) TrainMembers(ctx context.Context, members []MemberRun, parallel int,
	progress func(member int, p Progress)) error {
	parallel = max(1, min(parallel, len(members)))
	workers := p.Run.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range parallel {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(members) {
					return
				}
				m := &members[i]
				if ctx.Err() != nil {
					m.Err = ErrInterrupted
					continue
				}
				m.Config.Workers = max(1, workers/parallel)
				var tell func(Progress)
				if progress != nil {
					tell = func(p Progress) { progress(i, p) }
				}
				_ = p.TrainMember(ctx, m, tell) // the member keeps its error
			}
		})
	}
	wg.Wait()
	var errs []error
	for i := range members {
		if err := members[i].Err; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", members[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// TrainMember trains one member of the plan, or returns its result when that was
// done before.
func (p *Plan) TrainMember(ctx context.Context, m *MemberRun, progress func(Progress)) error {
	c := m.Config
	c.Progress = progress
	m.Result, m.Err = Train(ctx, c)
	if m.Err != nil {
		m.Error = m.Err.Error()
	}
	return m.Err
}
