package device

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/cuda/worker"
)

// Auto is the name for the first card where one can be used, and else the CPU.
const Auto = "auto"

// Forms says which names there are, for people.
const Forms = "auto, cpu, cuda, cuda:all or cards by number, as in cuda:0,1"

// ErrNoCard is wrapped by the reason why a machine without a card computes on its CPU.
var ErrNoCard = worker.ErrNoCard

// Options say how a device works. The zero value is the usual.
type Options struct {
	// Threads is the number of workers of the CPU; 0 is GOMAXPROCS.
	Threads int
	// Log is told of workers of cards that end and start again; nil for nobody.
	Log func(card, event string)
}

// Check reports what is wrong with the name of a device, as far as that can be known
// without looking for one.
func Check(name string) error {
	switch name {
	case "", Auto, "cpu", "cuda", "cuda:all":
		return nil
	}
	list, ok := strings.CutPrefix(name, "cuda:")
	seen := map[string]bool{}
	for n := range strings.SplitSeq(list, ",") {
		if _, err := strconv.ParseUint(n, 10, 16); err != nil || seen[n] {
			ok = false
		}
		seen[n] = true
	}
	if !ok {
		return fmt.Errorf("device %q: want %s", name, Forms)
	}
	return nil
}

// Open opens the device of a name, of which "" is [Auto]. Where that is the CPU, why says
// what is missing: it wraps [ErrNoCard], or tells why the card that is there cannot be
// used. A card that is asked for and cannot be used is an error. Close the engine.
func Open(name string, o Options) (e model.Engine, why, err error) {
	return opener{find: driver.Find, cards: func(name string) (model.Engine, error) {
		c, err := worker.Open(name, worker.Options{Log: o.Log})
		if err != nil {
			return nil, err // and no engine, which nil cards would be
		}
		return c, nil
	}}.open(name, o.Threads)
}

// opener is how cards are looked for.
type opener struct {
	find  func() error // whether there may be any; quick
	cards func(name string) (model.Engine, error)
}

func (p opener) open(name string, threads int) (e model.Engine, why, err error) {
	if err := Check(name); err != nil {
		return nil, nil, err
	}
	switch name {
	case "cpu":
		return model.NewEngine(threads), nil, nil
	case "", Auto:
	default:
		if e, err = p.cards(name); err != nil {
			return nil, nil, fmt.Errorf("device %s: %w", name, err)
		}
		return e, nil, nil
	}
	if err := p.find(); err != nil {
		return model.NewEngine(threads), fmt.Errorf("%w: %w", ErrNoCard, err), nil
	}
	if e, err = p.cards("cuda"); err != nil {
		return model.NewEngine(threads), err, nil
	}
	return e, nil, nil
}
