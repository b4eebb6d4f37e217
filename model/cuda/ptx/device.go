package ptx

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// Device is a card made of a machine: what an engine is tested on without one.
// As on a card, the first launch that goes wrong spoils all that follow.
type Device struct {
	Machine *Machine
	limits  cuda.Limits
	err     error
	record  *graph // a capture under way
	overlap bool
	// Launches counts launches of each kernel, those of graphs included.
	Launches map[string]int
}

var (
	_ cuda.Device     = (*Device)(nil)
	_ cuda.Overlapper = (*Device)(nil)
)

// rows is how many rows of a batch an engine is to make room for: more would take long.
const rows = 1024

// NewDevice returns a card with so many multiprocessors of a compute capability,
// 10·major + minor, whose schedules the seed fixes.
func NewDevice(seed uint64, sms, capability int) *Device {
	return &Device{Machine: New(seed), Launches: map[string]int{},
		limits: cuda.Limits{Name: "interpreter", SMs: sms, Capability: capability, Memory: 4 << 30, Free: 4 << 30,
			Rows: rows}}
}

// Alloc implements [cuda.Device]. The memory is NaN in every format until written.
func (d *Device) Alloc(bytes int) (cuda.Ptr, error) {
	if err := d.idle("memory is taken"); err != nil {
		return 0, err
	}
	if bytes < 1 {
		return 0, fmt.Errorf("ptx: an allocation of %d bytes", bytes)
	}
	if free := d.limits.Memory - d.Machine.mem.inUse; bytes > free {
		return 0, fmt.Errorf("ptx: out of memory: %d bytes asked for, %d of %d free", bytes, free, d.limits.Memory)
	}
	return cuda.Ptr(d.Machine.Alloc(bytes)), nil
}

// Free implements [cuda.Device].
func (d *Device) Free(p cuda.Ptr) {
	if err := d.Machine.Free(uint64(p)); err != nil && d.err == nil {
		d.err = err
	}
}

// Write implements [cuda.Device].
func (d *Device) Write(dst cuda.Ptr, src []byte) error {
	if err := d.idle("memory is written"); err != nil {
		return err
	}
	return d.Machine.Write(uint64(dst), src)
}

// Fill implements [cuda.Device].
func (d *Device) Fill(dst cuda.Ptr, src io.ReaderAt, bytes int) error {
	b := make([]byte, bytes)
	if _, err := src.ReadAt(b, 0); err != nil {
		return err
	}
	return d.Write(dst, b)
}

// Read implements [cuda.Device].
func (d *Device) Read(dst []byte, src cuda.Ptr) error {
	if err := d.idle("memory is read"); err != nil {
		return err
	}
	return d.Machine.Read(dst, uint64(src))
}

// TensorMap implements [cuda.Device].
func (d *Device) TensorMap(p cuda.Ptr, rows, cols, ld, boxRows int) ([128]byte, error) {
	return d.Machine.TensorMap(uint64(p), rows, cols, ld, boxRows)
}

// Overlap implements [cuda.Overlapper]: kernels that are said to follow the one before
// them are held to waiting for it, whether they have the instruction or not.
func (d *Device) Overlap(on bool) { d.overlap = on }

// Launch implements [cuda.Device].
func (d *Device) Launch(k *kernel.Kernel, grid int, args []byte) error {
	l := launch{k, grid, append([]byte(nil), args...), d.overlap && k.Follows}
	if d.record != nil {
		d.record.launches = append(d.record.launches, l)
		return nil
	}
	return d.launch(l)
}

type launch struct {
	kernel *kernel.Kernel
	grid   int
	args   []byte
	early  bool // starts before the launch ahead of it has ended
}

func (d *Device) launch(l launch) error {
	if d.err != nil {
		return d.err
	}
	m, err := Load(l.kernel.Module)
	if err != nil {
		return err
	}
	if !d.runs(m.Target) {
		return fmt.Errorf("ptx: %s is made for %s, which a card of capability %d does not run", l.kernel.Name, m.Target, d.limits.Capability)
	}
	k := m.Kernel(l.kernel.Name)
	if k == nil {
		return fmt.Errorf("ptx: module %s has no kernel %s", l.kernel.Module, l.kernel.Name)
	}
	d.Launches[l.kernel.Name]++
	d.Machine.Early = l.early
	d.err = d.Machine.Launch(k, Grid{Blocks: l.grid, Threads: l.kernel.Threads, Shared: l.kernel.Shared, Cluster: l.kernel.Cluster}, l.args)
	return d.err
}

// runs tells whether the card runs code for a target: that of its own or an
// older generation, and of one with a letter, as sm_90a, its own alone.
func (d *Device) runs(target string) bool {
	var c int
	s := strings.TrimPrefix(target, "sm_")
	if n := strings.TrimRight(s, "af"); n != s {
		_, err := fmt.Sscan(n, &c)
		return err == nil && c == d.limits.Capability
	}
	_, err := fmt.Sscan(s, &c)
	return err == nil && c <= d.limits.Capability
}

// idle refuses what a capture must not meet, and what comes after a failure.
func (d *Device) idle(what string) error {
	if d.record != nil {
		return fmt.Errorf("ptx: %s while launches are captured", what)
	}
	return d.err
}

// graph is launches to be run again.
type graph struct {
	d        *Device
	launches []launch
	freed    bool
}

// Capture implements [cuda.Device].
func (d *Device) Capture(f func() error) (cuda.Graph, error) {
	if err := d.idle("a capture begins"); err != nil {
		return nil, err
	}
	g := &graph{d: d}
	d.record = g
	err := f()
	d.record = nil
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Launch implements [cuda.Graph].
func (g *graph) Launch() error {
	if g.freed {
		return errors.New("ptx: a graph is launched after it was freed")
	}
	if err := g.d.idle("a graph is launched"); err != nil {
		return err
	}
	for _, l := range g.launches {
		if err := g.d.launch(l); err != nil {
			return err
		}
	}
	return nil
}

// Free implements [cuda.Graph].
func (g *graph) Free() { g.freed = true }

// Sync implements [cuda.Device].
func (d *Device) Sync() error { return d.idle("the host waits") }

// Limits implements [cuda.Device].
func (d *Device) Limits() cuda.Limits {
	l := d.limits
	l.Free = l.Memory - d.Machine.mem.inUse
	return l
}

var modules sync.Map // of the kernels that ship, by name: *Module

// Load returns a module that ships, parsed once in a process.
func Load(name string) (*Module, error) {
	if m, ok := modules.Load(name); ok {
		return m.(*Module), nil
	}
	text, err := kernel.PTX(name)
	if err != nil {
		return nil, err
	}
	m, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	modules.Store(name, m)
	return m, nil
}
