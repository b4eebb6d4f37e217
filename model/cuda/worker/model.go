package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// weights is a model as workers load it, which lasts until it is closed or the [Model] is
// garbage.
type weights struct {
	id        uint64
	cards     *Cards
	net       *nn.Network
	config    json.RawMessage
	dtype     kernel.DType
	room      *room // packed
	size      int64
	feed      *feed
	spent     binding.Spent
	workers   int           // that packed
	packed    time.Duration // from the begin of the load on
	card      finished      // of Cards.mu
	bound     binding.Weights
	constants [][]float32
	bytes     int64           // of a card's memory
	longest   int             // tokens of a sequence on a card
	paces     map[*card]*pace // of Cards.mu

	sending sync.RWMutex // held while the room is filled, or a worker is given it
	gone    bool         // the room is closed
}

// free gives the packed weights back, once no worker is being given them.
func (w *weights) free() {
	w.sending.Lock()
	defer w.sending.Unlock()
	if w.room != nil && !w.gone {
		w.gone = true
		w.room.close()
	}
}

// Model is a model on all of some cards. It implements [model.Model].
type Model struct{ *weights }

// Network implements [model.Model].
func (m *Model) Network() *nn.Network { return m.net }

// DType implements [model.Model].
func (m *Model) DType() kernel.DType { return m.dtype }

// Parameters implements [model.Model].
func (m *Model) Parameters() int { return m.bound.Parameters }

// Bytes implements [model.Model]: those of one card.
func (m *Model) Bytes() int { return int(m.bytes) }

// Longest implements [model.Model].
func (m *Model) Longest() int { return m.longest }

// Digest implements [model.Model].
func (m *Model) Digest() string { return m.bound.Digest }

// Constants implements [model.Model].
func (m *Model) Constants() [][]float32 { return m.constants }

// Times implements [model.Timed]: to have packed the weights, what each goroutine spent on parts of
// that, and what the worker did meanwhile and behind it.
func (m *Model) Times() []model.LoadTime {
	m.cards.mu.Lock()
	defer m.cards.mu.Unlock()
	return append(append([]model.LoadTime{{What: "packed", Took: m.packed}}, m.spent.Times(m.workers)...),
		model.LoadTime{What: "card_begin", Took: m.card.Begin},
		model.LoadTime{What: "card_fill", Took: m.card.Fill},
		model.LoadTime{What: "card_finish", Took: m.card.Finish})
}

// Close implements [model.Model].
func (m *Model) Close() { m.cards.remove(m.weights) }

// Load implements [model.Engine].
func (c *Cards) Load(cfg *model.Config, src model.Source, o model.LoadOptions) (model.Model, error) {
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	w := &weights{cards: c, net: cfg.Network(), config: config, dtype: o.DType, feed: newFeed(),
		workers: max(1, o.Workers), paces: map[*card]*pace{}}
	begun, placed := time.Now(), make(chan error, 1)
	err = w.pack(cfg.Tensors(src), o, func() { placed <- c.place(w) })
	w.packed = time.Since(begun)
	w.feed.end(err)
	if w.room != nil {
		if failed := <-placed; err == nil {
			err = failed
		}
	}
	if err != nil {
		w.free()
		return nil, err
	}
	m := &Model{w}
	runtime.AddCleanup(m, c.remove, w)
	return m, nil
}

// pack reads the weights and packs them into a room. As soon as that is there, place is called, by a
// goroutine of its own, and takes them to the cards as they come. When that fails, so does pack.
func (w *weights) pack(src model.Source, o model.LoadOptions, place func()) error {
	w.sending.RLock()
	defer w.sending.RUnlock()
	wanted := o
	o.Spent = &w.spent
	o.Interrupt = func() error {
		if err := w.feed.failed(); err != nil {
			return err
		}
		return wanted.Interrupted()
	}
	image, err := cuda.Pack(w.net, src, o, func(n int) (_ cuda.Room, err error) {
		w.size = int64(n)
		if err := w.cards.holds(w.size); err != nil {
			return nil, err
		}
		if w.room, err = newRoom(w.size); err != nil {
			return nil, err
		}
		go place()
		return feeding{w.room, w.feed}, nil
	})
	if err != nil {
		return err
	}
	w.bound, w.constants = image.Weights, image.Constants
	if err := w.room.seal(); err != nil {
		return err
	}
	return o.Interrupted()
}

// feeding is a room from which cards are fed.
type feeding struct {
	*room
	feed *feed
}

// Whole implements [cuda.Room].
func (f feeding) Whole(at, bytes int) { f.feed.add(span{int64(at), int64(bytes)}) }

// holds refuses weights that a card could not hold if it were empty, before the host's memory is
// filled with them. What else is on a card its worker knows, when it is asked to load them.
func (c *Cards) holds(size int64) error {
	c.mu.Lock()
	small := slices.IndexFunc(c.cards, func(k *card) bool { return size > k.hello.Memory })
	c.mu.Unlock()
	if small < 0 {
		return nil
	}
	s := c.Stats()[small]
	return &model.MemoryError{Device: fmt.Sprintf("cuda:%d %s", s.Card, s.Name), Need: size, Free: s.Free}
}

// place brings a model to all cards and keeps it there.
func (c *Cards) place(w *weights) error {
	err := c.placeOnAll(w)
	if err != nil {
		c.remove(w)
	}
	return err
}

func (c *Cards) placeOnAll(w *weights) error {
	c.mu.Lock()
	c.next++
	w.id = c.next
	cards := c.cards
	c.mu.Unlock()
	for {
		errs := make([]error, len(cards))
		var all sync.WaitGroup
		for i, k := range cards {
			all.Go(func() {
				if errs[i] = c.placeOn(k, w); errs[i] != nil {
					w.feed.end(errs[i]) // nobody else need wait for more
				}
			})
		}
		all.Wait()
		if i := firstError(errs); i >= 0 {
			return errs[i]
		}
		c.mu.Lock()
		everywhere := !c.closed
		for _, k := range cards {
			// A card that is away takes it before it comes back.
			everywhere = everywhere && (k.live == nil || k.live.loaded[w.id])
		}
		if everywhere {
			c.models[w.id] = w
		}
		c.mu.Unlock()
		if everywhere {
			return nil
		}
	}
}

func firstError(errs []error) int {
	for i, err := range errs {
		if err != nil {
			return i
		}
	}
	return -1
}

// placeOn brings a model to one card. When its worker dies of it, that may be by chance: the next
// one is asked as well.
func (c *Cards) placeOn(k *card, w *weights) error {
	until := time.Now().Add(c.options.Patience)
	var died *diedError
	for range 2 {
		p, err := c.await(until, func() (*process, error) { return k.worker(), k.unavailable() })
		if err != nil {
			return err
		}
		c.mu.Lock()
		there := p.loaded[w.id]
		c.mu.Unlock()
		if there {
			return nil
		}
		if err = c.loadOn(k, p, w); !errors.As(err, &died) {
			return err
		}
		<-p.done
	}
	return c.unavailable(k, died)
}

// loadOn has a worker load a model.
func (c *Cards) loadOn(k *card, p *process, w *weights) error {
	const slowest = 100 << 20 // bytes a second
	w.sending.RLock()
	defer w.sending.RUnlock()
	if w.gone {
		return nil // which nobody wants any more
	}
	limit := 3*c.options.first + time.Duration(w.size/slowest)*time.Second
	var answer loaded
	var took finished
	asked := load{Model: w.id, Config: w.config, DType: w.dtype.String(), Bytes: w.size}
	err := p.ask(kindLoad, asked, &answer, w.room.files, limit)
	if err == nil {
		if took, err = c.fillOn(p, w, limit); err != nil {
			_ = c.unloadOn(p, w.id) // what is there of it
		}
	}
	var f *failedError
	switch {
	case errors.As(err, &f) && f.Need > 0:
		return &model.MemoryError{Device: k.name() + " " + p.hello.Name, Need: f.Need, Free: f.Free}
	case errors.As(err, &f):
		return fmt.Errorf("%s: %s", k.name(), f.Text)
	case err != nil:
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.loaded[w.id] = true
	if w.longest == 0 { // once, as the model is read without a lock
		w.bytes, w.longest, w.card = answer.Bytes, answer.Longest, took
	}
	return nil
}

// fillOn has a worker take the weights of a model that it loads to its card, as they come.
func (c *Cards) fillOn(p *process, w *weights, limit time.Duration) (took finished, err error) {
	for n := 0; ; {
		spans, err := w.feed.next(n)
		if err != nil {
			return took, err
		}
		if len(spans) == 0 {
			break
		}
		if err := p.ask(kindFill, fill{w.id, spans}, nil, nil, limit); err != nil {
			return took, err
		}
		n += len(spans)
	}
	err = p.ask(kindFinish, w.id, &took, nil, limit)
	return took, err
}

// unloadOn has a worker give a model up, behind the batches that it has.
func (c *Cards) unloadOn(p *process, id uint64) error {
	c.mu.Lock()
	delete(p.loaded, id)
	delete(p.scored, id)
	c.mu.Unlock()
	return p.ask(kindUnload, id, nil, nil, c.options.first)
}

// remove gives a model up. Once more does nothing.
func (c *Cards) remove(w *weights) {
	c.mu.Lock()
	delete(c.models, w.id)
	var on []*process
	for _, k := range c.cards {
		if k.live != nil && k.live.loaded[w.id] {
			on = append(on, k.live)
			delete(k.live.loaded, w.id)
		}
	}
	c.mu.Unlock()
	for _, p := range on {
		go func() { _ = c.unloadOn(p, w.id) }() // which matters to nobody who could do something
	}
	go w.free() // a worker may be loading it just now
}
