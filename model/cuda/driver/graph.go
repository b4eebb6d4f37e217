package driver

import (
	"errors"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// captureRelaxed lets other calls happen meanwhile.
const captureRelaxed = 2

// capture is what a capture met.
type capture struct {
	missing []*kernel.Kernel // which it did not launch, for their modules were not loaded
}

// graph is an executable graph.
type graph struct {
	card *Card
	exec uintptr
}

// Capture records what f launches, without running it. f is called once more when a kernel
// had to be loaded first, which must not happen within a capture.
func (c *Card) Capture(f func() error) (cuda.Graph, error) {
	g, missing, err := c.record(f)
	if err == nil && len(missing) > 0 {
		g.Free()
		if err = c.Load(missing...); err == nil {
			g, _, err = c.record(f)
		}
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// record captures what f launches and returns the kernels that were not loaded.
func (c *Card) record(f func() error) (*graph, []*kernel.Kernel, error) {
	c.mu.Lock()
	if c.capture != nil {
		c.mu.Unlock()
		return nil, nil, errors.New("cuda: a graph is captured within a graph")
	}
	met := new(capture)
	err := c.call("cuStreamBeginCapture", c.lib.captureBegin, c.stream, captureRelaxed)
	if err == nil {
		c.capture = met
	}
	c.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	failed := f()
	var recorded uintptr
	c.mu.Lock()
	c.capture = nil
	err = c.call("cuStreamEndCapture", c.lib.captureEnd, c.stream, uintptr(unsafe.Pointer(&recorded)))
	c.mu.Unlock()
	if failed != nil {
		err = failed // rather than that the capture is void, which is why
	}
	if recorded != 0 {
		defer func() { _ = c.call("cuGraphDestroy", c.lib.graphDestroy, recorded) }()
	}
	if err != nil {
		return nil, nil, err
	}
	g := &graph{card: c}
	if len(met.missing) > 0 {
		return g, met.missing, nil
	}
	var exec uintptr
	err = c.call("cuGraphInstantiateWithFlags", c.lib.graphInstantiate,
		uintptr(unsafe.Pointer(&exec)), recorded, 0)
	g.exec = exec
	return g, nil, err
}

// Launch runs the graph behind what was launched before.
func (g *graph) Launch() error {
	return g.card.call("cuGraphLaunch", g.card.lib.graphLaunch, g.exec, g.card.stream)
}

// Free gives the graph's memory back.
func (g *graph) Free() {
	if g.exec != 0 {
		_ = g.card.call("cuGraphExecDestroy", g.card.lib.graphExecDestroy, g.exec)
		g.exec = 0
	}
}
