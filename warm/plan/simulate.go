package plan

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/warmserve/warmserve/server/batch"
)

// Group is one request: the answers to one prompt, as GRPO and RLOO score them.
type Group struct {
	Prompt  int   // tokens that the answers have in common; 0 where the engine shares none
	Answers []int // tokens of each, without the prompt
}

// Tokens returns what is sent: each answer with the prompt.
func (g Group) Tokens() int {
	n := 0
	for _, a := range g.Answers {
		n += g.Prompt + a
	}
	return n
}

// Service is the time of a batch of an engine that has its machine to itself.
type Service struct {
	Batch time.Duration // of every batch
	Token time.Duration // of each token that is computed: a prompt once in a batch
}

// Fleet is replicas behind a balancer that gives a request to the one with the fewest.
type Fleet struct {
	Replicas int
	// OneMachine says that the replicas share the processors of one: of k that compute
	// each has a k-th of its speed.
	OneMachine bool
	Queue      batch.Config
	Service    Service
	// Front is what a request takes besides queue and engine: connection, balancer, body
	// and reply.
	Front time.Duration
}

// Load is what comes, by the number of the group. Either Rate or Clients is above 0.
type Load struct {
	Group   func(n int) Group
	Rate    float64       // groups a second, as from independent workers (Poisson)
	Clients int           // that each send a group when the last is answered
	Warmup  time.Duration // which is not counted
	Window  time.Duration
	Seed    uint64
}

// Swap is a change of one replica's model, which is built beside the live one.
type Swap struct {
	Replica   int
	At, Takes time.Duration
	Share     float64 // of the engine's speed that it takes meanwhile, in [0, 1)
}

// Failure ends a replica: what it had in work is sent to others when the balancer notices.
type Failure struct {
	Replica        int
	At, Notice, Up time.Duration // Up is when it serves again
}

// Outcome is what a load came to in its window.
type Outcome struct {
	Groups          int           `json:"groups"`
	GroupsPerSecond float64       `json:"groups_per_s"`
	TokensPerSecond float64       `json:"tokens_per_s"` // as they are sent
	P50             time.Duration `json:"p50"`
	P99             time.Duration `json:"p99"`
	Max             time.Duration `json:"max"`
	BatchTokens     float64       `json:"batch_tokens"` // of a batch, on average
	Again           int           `json:"sent_again"`   // groups that a full queue or a failure made wait or move
}

// flight is a group on its way.
type flight struct {
	client int
	group  Group
	sent   time.Duration
	asked  batch.Rehearsed
	queued bool // whether it is in its replica's queue
	again  bool
}

// replica is one server.
type replica struct {
	queue   *batch.Rehearsal
	lane    *batch.Lane
	flights []*flight // given to it and not answered
	work    float64   // seconds that the batch under way still takes at full speed; -1 for none
	began   time.Duration
	share   float64 // that a swap takes
	down    bool
	known   bool // whether the balancer knows that it is down
	age     int  // of its queue: failures
}

// simulation is a run of Simulate.
type simulation struct {
	fleet    Fleet
	load     Load
	rnd      *rand.Rand
	replicas []*replica
	events   []event // those to come, the next first
	now      time.Duration
	next     int // group
	turn     int // of replicas with equally few requests
	ids      map[[2]int][]int32
	times    []time.Duration
	out      Outcome
	tokens   int
	batches  [2]int // their number and tokens
}

// event is something that happens at a time.
type event struct {
	at time.Duration
	do func()
}

// at plans an event, behind those of the same time that were planned before.
func (s *simulation) at(t time.Duration, do func()) {
	i, _ := slices.BinarySearchFunc(s.events, t+1, func(e event, t time.Duration) int { return cmp.Compare(e.at, t) })
	s.events = slices.Insert(s.events, i, event{t, do})
}

// Simulate runs a load on a fleet through swaps and failures.
func Simulate(f Fleet, l Load, swaps []Swap, failures []Failure) Outcome {
	s := &simulation{fleet: f, load: l, rnd: rand.New(rand.NewPCG(l.Seed, 1)), ids: map[[2]int][]int32{}}
	for range f.Replicas {
		s.replicas = append(s.replicas, &replica{queue: batch.Rehearse(f.Queue), lane: batch.RehearsedLane("wa"), work: -1})
	}
	for _, w := range swaps {
		r := s.replicas[w.Replica]
		s.at(w.At, func() { r.share = w.Share })
		s.at(w.At+w.Takes, func() { r.share = 0 })
	}
	for _, x := range failures {
		r := s.replicas[x.Replica]
		s.at(x.At, func() { s.fail(r) })
		s.at(x.At+x.Notice, func() { s.notice(r) })
		s.at(x.Up, func() { r.down, r.known = false, false })
	}
	for c := range l.Clients {
		s.at(0, func() { s.send(c) })
	}
	if l.Rate > 0 {
		s.arrive()
	}
	s.run(l.Warmup + l.Window)
	return s.outcome()
}

// arrive plans the next group of an open load.
func (s *simulation) arrive() {
	gap := time.Duration(s.rnd.ExpFloat64() / s.load.Rate * float64(time.Second))
	s.at(s.now+gap, func() {
		s.send(-1)
		s.arrive()
	})
}

// send gives the next group to a replica.
func (s *simulation) send(client int) {
	f := &flight{client: client, group: s.load.Group(s.next), sent: s.now}
	s.next++
	s.give(f, nil)
}

// give sends a flight to the replica with the fewest requests but one, or a while later
// when there is none.
func (s *simulation) give(f *flight, but *replica) {
	best := -1
	for k := range s.replicas {
		i := (s.turn + k) % len(s.replicas)
		r := s.replicas[i]
		if !r.known && r != but && (best < 0 || len(r.flights) < len(s.replicas[best].flights)) {
			best = i
		}
	}
	if best < 0 {
		s.later(f)
		return
	}
	s.turn = best + 1
	r := s.replicas[best]
	f.queued = false
	r.flights = append(r.flights, f)
	age := r.age
	s.at(s.now+s.fleet.Front, func() {
		if !r.down && r.age == age {
			s.submit(r, f, but == nil)
		}
	})
}

// later is what a client does after 503: it waits for 1 to 3 s, as Retry-After says.
func (s *simulation) later(f *flight) {
	f.again = true
	wait := time.Second + time.Duration(s.rnd.Float64()*2*float64(time.Second))
	s.at(s.now+wait, func() { s.give(f, nil) })
}

// submit puts a flight into its replica's queue; a full one makes it another's, once.
func (s *simulation) submit(r *replica, f *flight, first bool) {
	r.queue.At(s.now)
	seqs := make([]batch.Sequence, len(f.group.Answers))
	for i, a := range f.group.Answers {
		seqs[i] = batch.Sequence{IDs: s.tokensOf(f.group.Prompt, i, f.group.Prompt+a)}
	}
	asked, err := r.queue.Submit([]batch.Job{{Lane: r.lane, Seqs: seqs}})
	if errors.Is(err, batch.ErrOverloaded) {
		f.again = true
		r.flights = slices.DeleteFunc(r.flights, func(o *flight) bool { return o == f })
		if first && len(s.replicas) > 1 {
			s.give(f, r)
		} else {
			s.later(f)
		}
		return
	}
	f.asked, f.queued = asked, true
	s.start(r)
}

// tokensOf returns the ids of an answer: zeros for the prompt and then its own number, so
// that the queue knows answers to one prompt.
func (s *simulation) tokensOf(prompt, answer, n int) []int32 {
	key := [2]int{prompt, answer}
	ids := s.ids[key]
	for len(ids) < n {
		id := int32(0)
		if len(ids) >= prompt {
			id = int32(answer) + 1
		}
		ids = append(ids, id)
	}
	s.ids[key] = ids
	return ids[:n]
}

// start begins the replica's next batch, if it is idle and there is one.
func (s *simulation) start(r *replica) {
	if r.work >= 0 || r.down {
		return
	}
	r.queue.At(s.now)
	taken := r.queue.Start()
	if len(taken) == 0 {
		return
	}
	computed, sent := 0, 0
	prompts := map[batch.Rehearsed]bool{}
	for _, t := range taken {
		n := len(t.IDs)
		sent += n
		if prompts[t.Rehearsed] {
			n -= promptOf(t.IDs)
		}
		prompts[t.Rehearsed] = true
		computed += n
	}
	s.batches[0]++
	s.batches[1] += sent
	r.began = s.now
	r.work = (s.fleet.Service.Batch + time.Duration(computed)*s.fleet.Service.Token).Seconds()
}

// promptOf counts the zeros at the beginning of an answer's ids.
func promptOf(ids []int32) int {
	n, _ := slices.BinarySearch(ids, 1)
	return n
}

// finish ends the batch under way of a replica and answers what is complete.
func (s *simulation) finish(r *replica) {
	r.work = -1
	r.queue.At(s.now)
	r.queue.Finish(s.now - r.began)
	r.flights = slices.DeleteFunc(r.flights, func(f *flight) bool {
		if !f.queued || !f.asked.Done() {
			return false
		}
		s.answer(f)
		return true
	})
	s.start(r)
}

// answer counts a flight and lets its client go on.
func (s *simulation) answer(f *flight) {
	if s.now >= s.load.Warmup {
		s.times = append(s.times, s.now-f.sent)
		s.tokens += f.group.Tokens()
		if f.again {
			s.out.Again++
		}
	}
	if f.client >= 0 {
		s.at(s.now, func() { s.send(f.client) })
	}
}

// fail ends a replica with its queue.
func (s *simulation) fail(r *replica) {
	r.down, r.work, r.age = true, -1, r.age+1
	r.queue, r.lane = batch.Rehearse(s.fleet.Queue), batch.RehearsedLane("wa")
}

// notice gives what a dead replica had to others.
func (s *simulation) notice(r *replica) {
	r.known = r.down // it may serve again before it was missed
	lost := r.flights
	r.flights = nil
	for _, f := range lost {
		f.again = true
		s.give(f, r)
	}
}

// speed is the part of its machine that a replica which computes has.
func (s *simulation) speed(r *replica) float64 {
	k := 1
	if s.fleet.OneMachine {
		k = 0
		for _, o := range s.replicas {
			if o.work >= 0 {
				k++
			}
		}
	}
	return (1 - r.share) / float64(k)
}

// run lets everything happen until end.
func (s *simulation) run(end time.Duration) {
	for s.now < end {
		var first *replica
		at := end
		for _, r := range s.replicas {
			if r.work < 0 {
				continue
			}
			if t := s.now + time.Duration(r.work/s.speed(r)*float64(time.Second)); t < at {
				first, at = r, t
			}
		}
		if len(s.events) > 0 && s.events[0].at <= at {
			at, first = s.events[0].at, nil
		}
		passed := (at - s.now).Seconds()
		for _, r := range s.replicas {
			if r.work >= 0 {
				r.work = max(0, r.work-passed*s.speed(r))
			}
		}
		s.now = at
		switch {
		case first != nil:
			s.finish(first)
		case len(s.events) > 0 && s.events[0].at <= at:
			next := s.events[0]
			s.events = slices.Delete(s.events, 0, 1)
			next.do()
		}
	}
}

func (s *simulation) outcome() Outcome {
	o := s.out
	window := s.load.Window.Seconds()
	o.Groups = len(s.times)
	o.GroupsPerSecond, o.TokensPerSecond = float64(o.Groups)/window, float64(s.tokens)/window
	if s.batches[0] > 0 {
		o.BatchTokens = float64(s.batches[1]) / float64(s.batches[0])
	}
	slices.Sort(s.times)
	o.P50, o.P99 = Quantile(s.times, 0.5), Quantile(s.times, 0.99)
	o.Max = Quantile(s.times, 1)
	return o
}

// Quantile returns the q-quantile of sorted times, the nearest rank; 0 of none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
