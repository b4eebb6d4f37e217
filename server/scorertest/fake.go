package scorertest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/warmserve/warmserve/server/batch"
)

// Fake is a scorer whose rewards are a hash of the sequence: in [-8, 8), exact
// in float32, and another number for almost any change. Its fields are set
// before it is used.
type Fake struct {
	Seed     uint64                                   // two fakes of one seed agree
	PerToken time.Duration                            // how long a token takes, with time.Sleep; for synctest
	Before   func(seqs []batch.Sequence) error        // called first; may block, fail or panic
	Vocab    int32                                    // ids from here on are an error; 0 means none are
	Reward   func(seq batch.Sequence) (float32, bool) // overrides the hash where it says true

	mu    sync.Mutex
	calls [][]int
}

// Score implements batch.Scorer.
func (f *Fake) Score(dst []float32, seqs []batch.Sequence) error {
	if len(dst) != len(seqs) {
		panic(fmt.Sprintf("scorertest: %d places for %d rewards", len(dst), len(seqs)))
	}
	lengths := make([]int, len(seqs))
	tokens := 0
	for i, s := range seqs {
		lengths[i] = len(s.IDs)
		tokens += len(s.IDs)
	}
	f.mu.Lock()
	f.calls = append(f.calls, lengths)
	f.mu.Unlock()
	if f.PerToken > 0 {
		time.Sleep(time.Duration(tokens) * f.PerToken)
	}
	if f.Before != nil {
		if err := f.Before(seqs); err != nil {
			return err
		}
	}
	for i, s := range seqs {
		for _, id := range s.IDs {
			if id < 0 || (f.Vocab > 0 && id >= f.Vocab) {
				return fmt.Errorf("scorertest: id %d, want one in [0, %d)", id, f.Vocab)
			}
		}
		dst[i] = f.Want(s)
	}
	return nil
}

// Want returns the reward of seq.
func (f *Fake) Want(seq batch.Sequence) float32 {
	if f.Reward != nil {
		if r, ok := f.Reward(seq); ok {
			return r
		}
	}
	h := fnv.New64a()
	var word [8]byte
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(word[:], v)
		h.Write(word[:])
	}
	put(f.Seed)
	for _, at := range seq.Read {
		put(uint64(at))
	}
	for _, id := range seq.IDs {
		put(uint64(id))
	}
	for _, t := range seq.Types {
		put(uint64(t) | 1<<40)
	}
	// 24 bits are what a float32 holds exactly.
	return float32(h.Sum64()>>40)/(1<<20) - 8
}

// Calls returns the lengths of the sequences of each call so far.
func (f *Fake) Calls() [][]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}
