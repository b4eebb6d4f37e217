package worker

import (
	"encoding/json"
	"net"
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

// talk is how a worker is asked what it does, which it answers while it computes.
type talk struct {
	conn *net.UnixConn // of messages

	mu     sync.Mutex
	next   uint64
	stats  driver.Stats // of the last answer, or of none
	asked  time.Time    // when
	answer [4 << 10]byte
}

// stats asks the worker, or returns what it answered somebody who asked meanwhile.
func (p *process) stats() driver.Stats {
	t, begun := &p.talk, time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked.After(begun) {
		return t.stats
	}
	t.asked, t.stats = time.Now(), driver.Stats{}
	t.next++
	_ = t.conn.SetDeadline(t.asked.Add(statsTime))
	if _, err := t.conn.Write(appendHeader(nil, header{kind: kindStats, id: t.next})); err != nil {
		return t.stats
	}
	for {
		n, err := t.conn.Read(t.answer[:])
		if err != nil || n < headerBytes {
			return t.stats
		}
		h, err := parseHeader(t.answer[:headerBytes])
		if err != nil || h.id == t.next { // or it is an answer that came too late
			_ = json.Unmarshal(t.answer[headerBytes:n], &t.stats) // or zero
			return t.stats
		}
	}
}
