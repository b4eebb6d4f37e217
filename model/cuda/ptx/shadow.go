package ptx

// clock says of each agent up to which of its times another agent has heard of it.
type clock []uint32

func (c *clock) join(o clock) {
	for len(*c) < len(o) {
		*c = append(*c, 0)
	}
	to := (*c)[:len(o)]
	for i, v := range o {
		to[i] = max(to[i], v)
	}
}

// An epoch is a time of an agent, agent<<22 | time; 0 is never.
type epoch = uint32

const (
	agentShift = 22
	timeMask   = 1<<agentShift - 1
)

// knows tells whether an epoch lies before what c has heard of.
func (c clock) knows(e epoch) bool {
	a := int(e >> agentShift)
	return a < len(c) && e&timeMask <= c[a] || e == 0
}

// cells is what is known of each word of a block's shared memory: who wrote it
// last, and who has read it since. Reads are sets that words share.
type cells struct {
	c      *cluster
	block  *block
	writes []epoch
	reads  []uint32 // a set of the cluster's
	// A read by hot.epoch of a word that hot.write wrote and hot.set has read changes nothing.
	hot struct {
		epoch, write epoch
		set          uint32
	}
}

// readSets are the sets of reads of a cluster's words; set 0 is empty.
type readSets struct {
	sets   [][]epoch
	after  map[uint64]uint32 // set<<32 | epoch: that read added
	recent [256]struct {
		key uint64
		set uint32
	}
}

func (r *readSets) reset() {
	*r = readSets{sets: [][]epoch{nil}, after: map[uint64]uint32{}}
}

// add returns the set after a read at e by one who knows c. Reads that it knows
// of are dropped: who comes behind it comes behind them.
func (r *readSets) add(set uint32, e epoch, c clock) uint32 {
	key := uint64(set)<<32 | uint64(e)
	hit := &r.recent[(set*31+e)%256]
	if hit.key == key {
		return hit.set
	}
	if n, ok := r.after[key]; ok {
		hit.key, hit.set = key, n
		return n
	}
	kept := []epoch{e}
	for _, o := range r.sets[set] {
		if o != e && !c.knows(o) {
			kept = append(kept, o)
		}
	}
	n := uint32(len(r.sets))
	if len(kept) == 1 {
		if m, ok := r.after[uint64(e)]; ok {
			r.after[key] = m
			return m
		}
		r.after[uint64(e)] = n
	}
	r.sets = append(r.sets, kept)
	r.after[key] = n
	return n
}

// actor is one who touches shared memory: a warp, or the copy engine for one.
type actor struct {
	warp    *warp // whose instruction it is, for reports
	epoch   epoch
	clock   clock
	async   bool // reads by the async proxy: stores of threads must be fenced
	what    string
	lenient bool // may read what was never written
}

func (w *warp) actor() actor { return actor{warp: w, epoch: w.epoch(), clock: w.clock} }

func (w *warp) epoch() epoch { return epoch(w.agent)<<agentShift | w.clock[w.agent] }

// write and read are accesses of the lanes of a warp.
func (s *cells) write(w *warp, at, n int) {
	a := w.actor()
	s.writeBy(&a, at, n)
}

func (s *cells) read(w *warp, at, n int) {
	e := w.epoch()
	i, last := at/4, (at+n+3)/4
	if e == s.hot.epoch { // lanes mostly read what other lanes have just read
		for i < last && s.writes[i] == s.hot.write && s.reads[i] == s.hot.set {
			i++
		}
		if i == last {
			return
		}
	}
	a := w.actor()
	s.readBy(&a, at, n)
	s.hot.epoch, s.hot.write, s.hot.set = e, s.writes[last-1], s.reads[last-1]
}

func (s *cells) writeBy(a *actor, at, n int) {
	lastW, lastR := epoch(0), uint32(0)
	for i := at / 4; i < (at+n+3)/4; i++ {
		wr, rd := s.writes[i], s.reads[i]
		if wr != lastW {
			if wr != a.epoch && !a.clock.knows(wr) {
				s.race(a, i, "writes", "writes", wr)
			}
			lastW = wr
		}
		if rd != lastR {
			for _, e := range s.c.sets.sets[rd] {
				if !a.clock.knows(e) {
					s.race(a, i, "writes", "reads", e)
				}
			}
			lastR = rd
		}
		s.writes[i], s.reads[i] = a.epoch, 0
	}
}

func (s *cells) readBy(a *actor, at, n int) {
	lastW, from, to := epoch(0), ^uint32(0), uint32(0)
	for i := at / 4; i < (at+n+3)/4; i++ {
		wr := s.writes[i]
		if wr == 0 && !a.lenient {
			a.warp.fault("%sreads shared memory at %#x of block %d that was never written", a.what, 4*i, s.block.id)
		}
		if wr != lastW {
			if wr != a.epoch && !a.clock.knows(wr) {
				s.race(a, i, "reads", "writes", wr)
			}
			if a.async {
				s.fencedFor(a, i, wr)
			}
			lastW = wr
		}
		if rd := s.reads[i]; rd != from {
			from, to = rd, s.c.sets.add(rd, a.epoch, a.clock)
		}
		s.reads[i] = to
	}
}

// fencedFor finds stores of threads that the async proxy may not see yet.
func (s *cells) fencedFor(a *actor, i int, wr epoch) {
	agent := int(wr >> agentShift)
	if agent < len(s.c.warps) && wr&timeMask > s.c.warps[agent].fenced {
		a.warp.fault("%sreads shared memory at %#x of block %d that %s stored without a fence.proxy.async",
			a.what, 4*i, s.block.id, s.c.agentName(wr))
	}
}

func (s *cells) race(a *actor, i int, does, did string, e epoch) {
	a.warp.fault("race: %s%s shared memory at %#x of block %d, which %s %s with no barrier between them",
		a.what, does, 4*i, s.block.id, s.c.agentName(e), did)
}

// reset forgets all, for a new block.
func (s *cells) reset(c *cluster, b *block, bytes int) {
	s.c, s.block, s.hot.epoch = c, b, 0
	n := (bytes + 3) / 4
	if cap(s.writes) < n {
		s.writes, s.reads = make([]epoch, n), make([]uint32, n)
		return
	}
	s.writes, s.reads = s.writes[:n], s.reads[:n]
	clear(s.writes)
	clear(s.reads)
}
