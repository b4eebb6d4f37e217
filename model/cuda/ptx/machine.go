package ptx

import (
	"fmt"
	"math/rand/v2"
)

// Machine is a card: memory, a copy engine and what runs. One goroutine uses it.
type Machine struct {
	// Most is how many instructions of warps a launch may take before it counts
	// as one that never ends.
	Most uint64
	// Early says that launches start before the one before them has ended, so that
	// they must run griddepcontrol.wait before they touch what it touches. Kernels
	// that have the instruction are held to it anyway.
	Early bool
	rand  *rand.Rand
	mem   memory
	later []func() // copies under way
	steps uint64   // of warps
	lanes uint64   // of threads
	room  []float32
	pool  map[*Kernel][]*block
}

// New returns a machine whose schedules the seed fixes.
func New(seed uint64) *Machine {
	m := &Machine{Most: 1 << 28, rand: rand.New(rand.NewPCG(seed, 1)), pool: map[*Kernel][]*block{}}
	m.mem.next, m.mem.unit = globalBase+1<<20, hostUnit
	return m
}

// Steps is the number of instructions that threads have run.
func (m *Machine) Steps() uint64 { return m.lanes }

// Grid says how a kernel is launched.
type Grid struct {
	Blocks  int
	Threads int // of a block, a multiple of 32
	Shared  int // bytes of dynamic shared memory
	Cluster int // blocks of a cluster; 0 means 1
}

// Launch runs a kernel to its end.
func (m *Machine) Launch(k *Kernel, g Grid, params []byte) (err error) {
	if g.Cluster == 0 {
		g.Cluster = 1
	}
	switch {
	case k == nil:
		return fmt.Errorf("ptx: there is no such kernel")
	case g.Blocks < 1 || g.Blocks%g.Cluster != 0:
		return fmt.Errorf("ptx: %s: %d blocks in clusters of %d", k.Name, g.Blocks, g.Cluster)
	case g.Threads < 1 || g.Threads > 1024 || g.Threads%lanes != 0 || k.Threads > 0 && g.Threads > k.Threads:
		return fmt.Errorf("ptx: %s: blocks of %d threads, of at most %d", k.Name, g.Threads, k.Threads)
	case len(params) != k.Params:
		return fmt.Errorf("ptx: %s: %d bytes of parameters, want %d", k.Name, len(params), k.Params)
	case k.static-guard+g.Shared > 227<<10:
		return fmt.Errorf("ptx: %s: %d bytes of shared memory, a block has at most %d", k.Name,
			k.static-guard+g.Shared, 227<<10)
	}
	defer func() {
		m.later = nil
		if r := recover(); r != nil {
			f, ok := r.(*Fault)
			if !ok {
				panic(r)
			}
			m.pool = map[*Kernel][]*block{}
			err = f
		}
	}()
	m.mem.launch(g.Blocks)
	for _, first := range m.rand.Perm(g.Blocks / g.Cluster) {
		c := m.cluster(k, g, first*g.Cluster, params)
		c.drive(m.steps + m.Most)
		m.pool[k] = append(m.pool[k], c.blocks...)
	}
	return nil
}

// cluster is blocks that run at the same time and see each other's shared memory.
type cluster struct {
	m      *Machine
	blocks []*block
	warps  []*warp // an agent each; behind them one for the stores of each, and one for each mbarrier
	agents int
	sets   readSets
	bar    clusterBarrier
}

type block struct {
	cluster  *cluster
	kernel   *Kernel
	id, rank int
	grid     Grid
	params   []byte
	smem     []byte
	cells    cells
	warps    []*warp
	barriers map[uint64]*mbarrier
	syncs    map[int]*syncBarrier
	live     int   // warps that have not ended
	spare    int   // registers of a thread that warps have given back
	known    clock // of the warps that have ended
	visits   clock // times at which agents from outside reached in
}

func (m *Machine) cluster(k *Kernel, g Grid, first int, params []byte) *cluster {
	c := &cluster{m: m}
	c.sets.reset()
	n := g.Threads / lanes
	c.agents = 2 * n * g.Cluster
	for r := range g.Cluster {
		b := m.block(k, n)
		b.cluster, b.id, b.rank, b.grid, b.params, b.live, b.spare = c, first+r, r, g, params, n, 0
		bytes := k.dynamic + g.Shared
		if cap(b.smem) < bytes {
			b.smem = make([]byte, bytes)
		}
		b.smem = b.smem[:bytes]
		fill(b.smem)
		b.cells.reset(c, b, bytes)
		b.known, b.visits = b.known[:0], b.visits[:0]
		b.barriers, b.syncs = map[uint64]*mbarrier{}, map[int]*syncBarrier{}
		for _, w := range b.warps {
			w.agent = len(c.warps)
			c.warps = append(c.warps, w)
			w.start()
		}
		c.blocks = append(c.blocks, b)
	}
	return c
}

// block takes a block of a kernel that has ended, or makes one.
func (m *Machine) block(k *Kernel, warps int) *block {
	if p := m.pool[k]; len(p) > 0 && len(p[len(p)-1].warps) == warps {
		m.pool[k] = p[:len(p)-1]
		return p[len(p)-1]
	}
	b := &block{kernel: k}
	r := &k.regs
	for i := range warps {
		b.warps = append(b.warps, &warp{block: b, id: i, r32: make([]row32, r.n32),
			r64: make([]row64, r.n64), pred: make([]uint32, r.np),
			set: make([]uint32, r.n), stamp: make([]uint32, r.n), flight: make([]int32, r.n)})
	}
	return b
}

// start makes a warp as it is born.
func (w *warp) start() {
	m := w.block.cluster.m
	w.live, w.groups = full, append(w.groups[:0], &group{mask: full})
	w.apart = m.rand.IntN(4) == 0
	clear(w.set)
	clear(w.stamp)
	clear(w.flight)
	w.tick, w.fenced, w.joined, w.phase, w.registers = 0, 0, 0, 0, 0
	w.waited, w.hasCB, w.async = false, false, asyncState{}
	w.local = nil
	w.clock = make(clock, w.block.cluster.agents, w.block.cluster.agents+64)
	w.clock[w.agent] = 1
	for _, s := range w.block.kernel.regs.special {
		w.set[s.reg.id] = full
		for l := range lanes {
			w.r32[s.reg.index][l] = w.special(s.name, l)
		}
	}
}

func (w *warp) special(name string, l int) uint32 {
	b := w.block
	switch name {
	case "%tid.x":
		return uint32(w.id*lanes + l)
	case "%ntid.x":
		return uint32(b.grid.Threads)
	case "%ctaid.x":
		return uint32(b.id)
	case "%nctaid.x":
		return uint32(b.grid.Blocks)
	case "%laneid":
		return uint32(l)
	case "%warpid":
		return uint32(w.id)
	case "%cluster_ctarank":
		return uint32(b.rank)
	case "%cluster_nctarank":
		return uint32(b.grid.Cluster)
	case "%clusterid.x":
		return uint32(b.id / b.grid.Cluster)
	case "%nclusterid.x":
		return uint32(b.grid.Blocks / b.grid.Cluster)
	case "%lanemask_lt":
		return 1<<l - 1
	case "%lanemask_le":
		return 2<<l - 1
	case "%lanemask_gt":
		return ^(2<<l - 1)
	case "%lanemask_ge":
		return ^(1<<l - 1)
	case "%lanemask_eq":
		return 1 << l
	case "%dynamic_smem_size":
		return uint32(b.grid.Shared)
	case "%ntid.y", "%ntid.z", "%nctaid.y", "%nctaid.z":
		return 1
	}
	return 0
}

// drive runs a cluster to its end, or until a step that counts as endless.
func (c *cluster) drive(most uint64) {
	m := c.m
	// Some launches have a slow copy engine, and some warps are slow.
	copies := []int{2, 10, 100}[m.rand.IntN(3)]
	slow := make([]int, len(c.warps))
	for i := range slow {
		slow[i] = []int{1, 1, 4, 30}[m.rand.IntN(4)]
	}
	for idle := 0; ; {
		n := m.rand.IntN(len(c.warps))
		if w := c.warps[n]; w.live != 0 &&
			(idle > 0 || slow[n] == 1 || m.rand.IntN(slow[n]) == 0) && w.progress(1+m.rand.IntN(250)) {
			idle = 0
		} else {
			idle++
		}
		if len(m.later) > 0 && m.rand.IntN(copies) == 0 {
			m.arrive()
			idle = 0
		}
		if m.steps > most {
			panic(&Fault{Kernel: c.blocks[0].kernel.Name, Block: c.blocks[0].id,
				What: fmt.Sprintf("still runs after %d instructions", m.Most)})
		}
		if idle > 2*len(c.warps) && c.sweep() {
			return
		}
	}
}

// sweep lets each warp run once, and tells whether all have ended.
func (c *cluster) sweep() bool {
	any, live := false, false
	for _, w := range c.warps {
		if w.live != 0 {
			any = w.progress(250) || any
		}
	}
	for _, w := range c.warps {
		live = live || w.live != 0
	}
	switch {
	case any:
	case len(c.m.later) > 0:
		c.m.arrive()
	case live:
		c.stuck()
	default:
		return true
	}
	return false
}

// arrive completes one of the copies under way.
func (m *Machine) arrive() {
	i, n := m.rand.IntN(len(m.later)), len(m.later)-1
	f := m.later[i]
	m.later[i] = m.later[n]
	m.later = m.later[:n]
	f()
}

// ended sees to what a warp that has ended leaves behind.
func (w *warp) ended() {
	if w.async.stores > 0 {
		w.fault("ends while the copy engine may still read what it stores (no cp.async.bulk.wait_group)")
	}
	if n := len(w.async.products); n > 0 || len(w.async.open) > 0 {
		w.fault("ends with products of wgmma that nobody waited for")
	}
	w.async.finishCopies(0)
	b := w.block
	b.live--
	b.known.join(w.clock)
	if b.live == 0 {
		for a, at := range b.visits {
			if a >= len(b.known) || at > b.known[a] {
				w.fault("block %d ends, and nothing has told it that %s is done with its shared memory",
					b.id, b.cluster.agentName(epoch(a)<<agentShift))
			}
		}
	}
	for id, s := range b.syncs {
		s.check(b, id)
	}
	b.cluster.bar.check(b.cluster)
}

// visit notes that an agent reaches into a block from outside. The block must be
// there, and must learn before it ends that the visit is over.
func (b *block) visit(w *warp, e epoch) {
	if b.live == 0 {
		w.fault("reaches into the shared memory of block %d, which has ended", b.id)
	}
	a := int(e >> agentShift)
	for len(b.visits) <= a {
		b.visits = append(b.visits, 0)
	}
	b.visits[a] = max(b.visits[a], e&timeMask)
}

// agentName names who did something at an epoch.
func (c *cluster) agentName(e epoch) string {
	a, n := int(e>>agentShift), len(c.warps)
	switch {
	case a < n:
		return fmt.Sprintf("warp %d of block %d", c.warps[a].id, c.warps[a].block.id)
	case a < 2*n:
		return fmt.Sprintf("the copy engine for warp %d of block %d", c.warps[a-n].id, c.warps[a-n].block.id)
	}
	for _, b := range c.blocks {
		for _, e := range b.barriers {
			if e.agent == a {
				return fmt.Sprintf("a copy that the mbarrier at %#x of block %d counts", e.at, b.id)
			}
		}
	}
	return "a copy"
}
