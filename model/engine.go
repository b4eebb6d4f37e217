package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Engine loads models onto a device and scores with them there. It may be used by
// several goroutines at once; a device computes one batch after the other.
type Engine interface {
	// Load builds the model of a configuration from a source's tensors, on the
	// engine's device, in a number format of DTypes: see [cpu.Load] for what binds them.
	Load(c *Config, src Source, o LoadOptions) (Model, error)
	// Score writes the reward of every sequence to dst, which has room for each, and
	// the outputs that it is made of where the sequence has room for them. A sequence
	// that the model cannot score fails the batch with an error that names its index,
	// before anything is computed; so does a model of another device. An error that
	// wraps an [*UnavailableError] passes: the same batch may be scored a little later.
	// The rewards may be NaN or infinite when the model's are.
	Score(m Model, dst []float32, seqs []Sequence) error
	// DTypes are the number formats that the device computes in, its default first.
	DTypes() []kernel.DType
	// Workers returns how many goroutines of this process work for a batch, and read
	// tensors in a load.
	Workers() int
	// Device says for people what computes, as in "cpu" and "cuda:0 NVIDIA H100".
	Device() string
	// Close ends the engine, whose models cannot be scored with any more.
	Close()
}

// Model is a reward model with its weights on a device, immutable after
// [Engine.Load] and safe for concurrent use.
type Model interface {
	Network() *nn.Network
	DType() kernel.DType
	// Parameters returns the number of weights.
	Parameters() int
	// Bytes returns the device's memory that the weights take.
	Bytes() int
	// Longest returns how many tokens a sequence has at most: those of the network's
	// context, or fewer where the device has no room for them.
	Longest() int
	// Digest names the weights as they were read, before the conversion to the
	// model's number format: "sha256:" and 64 hexadecimal digits. Equal tensors
	// under equal names give equal digests, whatever files they came from.
	Digest() string
	// Constants are the values that the head's readout reads beside outputs.
	Constants() [][]float32
	// Close gives the device's memory back when no batch of the model is computed any
	// more; nothing can be scored with it then. Close after Close does nothing.
	Close()
}

// Pooled is a Model whose device gives the outputs of read tokens and of no others: no
// sequence of it has Every.
type Pooled interface {
	Model
	Pooled()
}

// Timed is a Model that knows what its load spent time on.
type Timed interface {
	Model
	// Times returns it by what was done; some of it at the same time.
	Times() []LoadTime
}

// HugePaged is a Model whose weights can move to huge pages of the processor's memory.
type HugePaged interface {
	Model
	// HugePages moves them, and returns how many bytes lie there: see [cpu.Model.HugePages].
	HugePages(ctx context.Context) int
}

// LoadTime is how long a part of a load took.
type LoadTime = binding.LoadTime

// CPU is the engine of this process's processors.
type CPU struct{ *cpu.Engine }

// NewEngine starts an engine on the CPU of the given number of workers, 0 for GOMAXPROCS.
func NewEngine(workers int) CPU { return CPU{cpu.NewEngine(workers)} }

// Load implements [Engine].
func (e CPU) Load(c *Config, src Source, o LoadOptions) (Model, error) {
	if _, err := ChooseDType(e, o.DType.String()); err != nil {
		return nil, err
	}
	m, err := Load(c, src, o)
	if err != nil {
		return nil, err // and no model, which a nil *cpu.Model would be
	}
	return m, nil
}

// Score implements [Engine].
func (e CPU) Score(m Model, dst []float32, seqs []Sequence) error {
	on, ok := m.(*cpu.Model)
	if !ok {
		return OtherDevice(e, m)
	}
	return e.Engine.Score(on, dst, seqs)
}

// DTypes implements [Engine].
func (CPU) DTypes() []kernel.DType {
	return []kernel.DType{kernel.Float32, kernel.BFloat16, kernel.Int8}
}

// Device implements [Engine].
func (CPU) Device() string { return "cpu" }

// ChooseDType returns the number format of a name among those of an engine's device, or
// its default for "". The error says which there are.
func ChooseDType(e Engine, name string) (kernel.DType, error) {
	all := e.DTypes()
	if name == "" {
		return all[0], nil
	}
	d, err := kernel.ParseDType(name)
	switch {
	case err != nil || slices.Contains(all, d):
	case d == kernel.FP8 && slices.Contains(all, kernel.Int8):
		err = errors.New("dtype fp8 is for cards; int8 is the CPU's")
	case d == kernel.FP8:
		err = fmt.Errorf("dtype fp8 needs a card of generation 8.9 or later, which %s is not", e.Device())
	default:
		var words []string
		for _, d := range all {
			words = append(words, d.String())
		}
		err = fmt.Errorf("dtype %s is not computed on %s: want %s", d, e.Device(), strings.Join(words, " or "))
	}
	return d, err
}

// UnavailableError is why a device does not compute now and will again by itself, as
// while the worker of a card starts anew.
type UnavailableError struct {
	Device string        // as [Engine].Device has it
	After  time.Duration // about how long that takes
	Err    error         // what happened
}

// Error says which device, why and for how long.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s computes again in about %v: %v", e.Device, e.After, e.Err)
}

// Unwrap returns what happened.
func (e *UnavailableError) Unwrap() error { return e.Err }

// OtherDevice is the error of an engine that is given a model that it did not load.
func OtherDevice(e Engine, m Model) error {
	return fmt.Errorf("model: a %s of another device cannot be scored on %s: load it there", m.Network().Name,
		e.Device())
}

// MemoryError is why a model does not fit a device.
type MemoryError struct {
	Device     string // as [Engine].Device has it
	Need, Free int64  // bytes
}

// Error says what is needed and what there is.
func (e *MemoryError) Error() string {
	return fmt.Sprintf("%s: %.2f GB are needed, %.2f GB are free", e.Device, float64(e.Need)/1e9, float64(e.Free)/1e9)
}
