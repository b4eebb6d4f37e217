package worker

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/kernel"
)

// Options say how workers are started and watched. The zero value is the usual.
type Options struct {
	// Log is told of workers that end and start again; nil for nobody.
	Log func(card, event string)
	// Patience is how long a batch waits for a worker to start again; 0 for 20 s.
	Patience time.Duration

	// For tests, 0 for the usual: the least time that an answer is waited for, that of a
	// model's first batch and of loads, that of a start, and the longest pause between starts.
	floor, first, opening, pause time.Duration
	// command makes the command that is a worker, but for its environment and files.
	command func() *exec.Cmd
}

// withDefaults returns the options with the usual for what is zero.
func (o Options) withDefaults() Options {
	for _, d := range []struct {
		to    *time.Duration
		usual time.Duration
	}{{&o.Patience, 20 * time.Second}, {&o.floor, 5 * time.Second}, {&o.first, 3 * time.Minute},
		{&o.opening, time.Minute}, {&o.pause, 30 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.usual
		}
	}
	if o.Log == nil {
		o.Log = func(string, string) {}
	}
	if o.command == nil {
		o.command = func() *exec.Cmd { return exec.Command(program) }
	}
	return o
}

// ErrNoCard is wrapped by the error of [Open] when there is no card, or no driver for it.
var ErrNoCard = errors.New("no card")

// noCardError says why, in the driver's words.
type noCardError struct{ text string }

func (e *noCardError) Error() string   { return e.text }
func (e *noCardError) Is(t error) bool { return t == ErrNoCard }

// Cards are some cards, each with a worker. They are a [model.Engine].
type Cards struct {
	options Options
	name    string // as in "cuda:0,1"
	ended   sync.WaitGroup

	mu     sync.Mutex
	cards  []*card
	models map[uint64]*weights // that are loaded
	next   uint64
	closed bool
	stop   chan struct{} // closed with the cards
	change chan struct{} // closed, and made anew, with every change that someone may wait for
}

var _ model.Engine = (*Cards)(nil)

// card is a card and its worker of now. All is of Cards.mu.
type card struct {
	ordinal                   int
	hello                     hello
	live                      *process      // nil while none can be asked
	starting                  *process      // loads models, before it is live
	why                       error         // there is none
	back                      time.Time     // about when there will be
	took                      time.Duration // the last start
	waiting                   int           // tokens that the worker has yet to score
	batches, tokens, restarts uint64
}

// parse returns the numbers of the cards that are named; nil for all.
func parse(spec string) ([]int, error) {
	list, ok := strings.CutPrefix(spec, "cuda:")
	wrong := fmt.Errorf("device %q: want cuda, cuda:all or cards by their numbers, each once, as in cuda:0,1",
		spec)
	switch {
	case spec == "cuda":
		return []int{0}, nil
	case spec == "cuda:all":
		return nil, nil
	case !ok:
		return nil, wrong
	}
	var out []int
	seen := map[int]bool{}
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || seen[n] {
			return nil, wrong
		}
		seen[n] = true
		out = append(out, n)
	}
	return out, nil
}

// Open starts a worker for each card of a name: cuda is the first, cuda:all are all of them,
// and cuda:0,1 those two. The error wraps [ErrNoCard] when this machine, or this build, has none.
func Open(spec string, o Options) (*Cards, error) {
	ordinals, err := parse(spec)
	switch {
	case err != nil:
		return nil, err
	case o.command == nil && !called.Load(): // it would run as itself, and start workers
		return nil, errors.New("this program cannot drive cards: " +
			"its main function does not begin with worker.Main()")
	}
	c := &Cards{options: o.withDefaults(), models: map[uint64]*weights{}, change: make(chan struct{}),
		stop: make(chan struct{})}
	all := ordinals == nil
	if all {
		ordinals = []int{0} // which knows how many there are
	}
	if err := c.start(ordinals); err != nil {
		c.Close()
		return nil, err
	}
	if n := c.cards[0].hello.Cards; all && n > 1 {
		ordinals = nil
		for i := range n {
			ordinals = append(ordinals, i)
		}
		if err := c.start(ordinals[1:]); err != nil {
			c.Close()
			return nil, err
		}
	}
	var numbers []string
	for _, n := range ordinals {
		numbers = append(numbers, strconv.Itoa(n))
	}
	c.name = "cuda:" + strings.Join(numbers, ",")
	return c, nil
}

// start starts the workers of cards side by side.
func (c *Cards) start(ordinals []int) error {
	errs := make([]error, len(ordinals))
	var all sync.WaitGroup
	for i, n := range ordinals {
		k := &card{ordinal: n}
		c.mu.Lock()
		c.cards = append(c.cards, k)
		c.mu.Unlock()
		all.Go(func() {
			if err := c.again(k); err != nil {
				errs[i] = startError(n, err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, k := range c.cards[len(c.cards)-len(ordinals):] {
		c.ended.Go(func() { c.keep(k) })
	}
	return nil
}

// startError says why a worker did not start.
func startError(ordinal int, err error) error {
	var f *failedError
	if errors.As(err, &f) && f.None {
		return &noCardError{f.Text}
	}
	return fmt.Errorf("the worker of cuda:%d: %w", ordinal, err)
}

// keep has a worker for a card, one after the other, until the cards are closed.
func (c *Cards) keep(k *card) {
	pause := time.Duration(0) // none for a worker that has done something
	for {
		c.mu.Lock()
		p, before := k.live, k.batches
		c.mu.Unlock()
		<-p.done
		reason := p.reason()
		c.mu.Lock()
		if k.batches > before {
			pause = 0
		}
		c.mu.Unlock()
		for {
			if !c.away(k, reason, pause) {
				return
			}
			pause = min(max(2*pause, time.Second), c.options.pause)
			if reason = c.again(k); reason == nil {
				break
			}
		}
		c.options.Log(k.name(), "answers again")
	}
}

// away notes that a card has no worker and waits before it is to have one again. It reports
// whether it is.
func (c *Cards) away(k *card, reason error, pause time.Duration) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	k.live, k.why, k.back = nil, reason, time.Now().Add(pause+k.took)
	k.restarts++
	c.changed()
	c.mu.Unlock()
	c.options.Log(k.name(), "worker "+reason.Error())
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-c.stop:
		return false
	case <-t.C:
		return true
	}
}

// again starts a worker and brings all models to its card.
func (c *Cards) again(k *card) error {
	begun := time.Now()
	p, err := launch(c.options.command(), k.ordinal)
	if err != nil {
		return err
	}
	c.mu.Lock()
	k.starting = p
	if c.closed {
		p.die(errClosed)
	}
	c.mu.Unlock()
	if err := p.open(c.options.opening); err != nil {
		return err
	}
	for {
		c.mu.Lock()
		load, unload := c.differences(p)
		if load == nil && unload == 0 {
			k.live, k.starting, k.hello, k.took = p, nil, p.hello, time.Since(begun)
			c.changed()
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		if load != nil {
			err = c.loadOn(k, p, load)
		} else {
			err = c.unloadOn(p, unload)
		}
		if err != nil {
			p.die(err)
			<-p.done
			return p.reason()
		}
	}
}

// differences returns a model that a worker is to load, and the number of one that it is to
// give up. c.mu is held.
func (c *Cards) differences(p *process) (load *weights, unload uint64) {
	for id, w := range c.models {
		if !p.loaded[id] {
			load = w
		}
	}
	for id := range p.loaded {
		if c.models[id] == nil {
			unload = id
		}
	}
	return load, unload
}

// changed wakes those who wait for a change. c.mu is held.
func (c *Cards) changed() {
	close(c.change)
	c.change = make(chan struct{})
}

// errClosed is why the workers of closed cards end.
var errClosed = errors.New("the cards are closed")

// Close ends the workers.
func (c *Cards) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.stop)
		c.changed()
	}
	for _, k := range c.cards {
		for _, p := range []*process{k.live, k.starting} {
			if p != nil {
				p.die(errClosed)
			}
		}
	}
	left := c.models
	c.models = map[uint64]*weights{}
	c.mu.Unlock()
	c.ended.Wait()
	for _, w := range left {
		w.free()
	}
}

func (k *card) name() string { return "cuda:" + strconv.Itoa(k.ordinal) }

// Device implements [model.Engine].
func (c *Cards) Device() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name + " " + c.cards[0].hello.Name
}

// DTypes implements [model.Engine]: what all cards compute in.
func (c *Cards) DTypes() []kernel.DType {
	c.mu.Lock()
	defer c.mu.Unlock()
	least := c.cards[0].hello.Capability
	for _, k := range c.cards {
		least = min(least, k.hello.Capability)
	}
	return cuda.DTypes(least)
}

// Workers implements [model.Engine]: the goroutines that pack weights.
func (c *Cards) Workers() int { return runtime.GOMAXPROCS(0) }
