package worker

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model/cuda/driver"
)

// Stats is what a card and its worker are doing.
type Stats struct {
	Card       int    // its number
	Name       string // as in NVIDIA H100 80GB HBM3
	Capability int    // 90 for Hopper
	Driver     string
	Up         bool   // whether there is a worker to answer
	Why        string // there is none
	Restarts   uint64 // workers that ended, or did not start
	Batches    uint64 // scored
	Tokens     uint64 // in them
	// Stats are zero while there is no worker, or where the driver does not tell.
	driver.Stats
}

// statsTime is how long a worker may take to answer what it does.
const statsTime = time.Second

// Stats asks all cards.
func (c *Cards) Stats() []Stats {
	c.mu.Lock()
	out := make([]Stats, len(c.cards))
	live := make([]*process, len(c.cards))
	for i, k := range c.cards {
		out[i] = Stats{Card: k.ordinal, Name: k.hello.Name, Capability: k.hello.Capability, Driver: k.hello.Driver,
			Up: k.live != nil, Restarts: k.restarts, Batches: k.batches, Tokens: k.tokens}
		if live[i] = k.live; k.live == nil && k.why != nil {
			out[i].Why = k.why.Error()
		}
	}
	c.mu.Unlock()
	var all sync.WaitGroup
	for i, p := range live {
		if p != nil {
			all.Go(func() { out[i].Stats = p.stats() })
		}
	}
	all.Wait()
	return out
}

// stats asks the worker, which answers while it computes.
func (p *process) stats() driver.Stats {
	a := p.begin(kindStats, make([]byte, headerBytes), nil, 0)
	t := time.NewTimer(statsTime)
	defer t.Stop()
	var s driver.Stats
	select {
	case <-a.ended:
		if a.err == nil {
			_ = json.Unmarshal(a.payload, &s) // or zero
		}
	case <-t.C:
	}
	return s
}
