//go:build linux

package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
)

func TestAWorkerScoresBatches(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	assert.Equal(t, "cuda:0 Fake", c.Device())
	m, other := loadTiny(t, c, 1), loadTiny(t, c, 2)
	assert.NotEqual(t, want(t, m, 1), want(t, other, 1), "the weights arrive")
	assert.Equal(t, 12345, m.Bytes())
	every := model.Sequence{IDs: []int32{9, 8, 7}, Read: []int32{1}, Every: true, Outputs: make([]float32, 3)}
	one := sequence(4, 5)
	one.Outputs = make([]float32, 1)
	dst := make([]float32, 3)
	require.NoError(t, c.Score(m, dst, []model.Sequence{sequence(1, 2, 3), every, one}))
	assert.Equal(t, []float32{want(t, m, 1, 2, 3), want(t, m, 9, 8), want(t, m, 4, 5)}, dst)
	assert.Equal(t, []float32{want(t, m, 9), want(t, m, 9, 8), want(t, m, 9, 8, 7)}, every.Outputs)
	assert.Equal(t, dst[2:], one.Outputs)
	assert.Equal(t, want(t, other, 4, 5), scoreOf(t, other, 4, 5))
	require.NoError(t, c.Score(m, nil, nil))

	err := c.Score(m, dst[:2], []model.Sequence{sequence(1), sequence(64)})
	assert.ErrorContains(t, err, "sequence 1: model: token id 64")
	err = c.Score(m, dst[:1], []model.Sequence{sequence(tokenRefuse)})
	assert.EqualError(t, err, "cuda:0: refused")
	s := c.Stats()
	require.Len(t, s, 1)
	assert.Equal(t, Stats{Name: "Fake", Capability: 90, Driver: "580.1 (CUDA 13.0)", Up: true, Batches: 2,
		Tokens: 10, Stats: s[0].Stats}, s[0])
	assert.Equal(t, 500.0, s[0].Power)
	assert.Equal(t, int64(2), s[0].Free, "models")

	cpu := model.NewEngine(1)
	defer cpu.Close()
	assert.ErrorContains(t, cpu.Score(m, dst[:1], []model.Sequence{sequence(1)}), "another device")
	err = fakeCards(t, "cuda", fakeOptions()).Score(m, dst[:1], []model.Sequence{sequence(1)})
	assert.ErrorContains(t, err, "another device")
}

func TestAKilledWorkerIsReplacedUnderLoad(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	m, other := loadTiny(t, c, 1), loadTiny(t, c, 2)
	wants := [2]float32{want(t, m, 3, 2), want(t, other, 3, 2)}
	stop := make(chan struct{})
	var all sync.WaitGroup
	scored := [4]int{}
	for i := range scored {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var dst [1]float32
				if !assert.NoError(t, c.Score([]*Model{m, other}[i%2], dst[:], []model.Sequence{sequence(3, 2)})) {
					return
				}
				if !assert.Equal(t, wants[i%2], dst[0]) {
					return
				}
				scored[i]++
			}
		})
	}
	const kills = 3
	for range kills {
		time.Sleep(50 * time.Millisecond)
		before := kill(t, c, 0)
		require.Eventually(t, func() bool { p := pid(c, 0); return p != 0 && p != before }, 20*time.Second,
			5*time.Millisecond)
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	all.Wait()
	s := c.Stats()[0]
	assert.Equal(t, uint64(kills), s.Restarts)
	assert.Equal(t, int64(2), s.Free, "both models were loaded again")
	for _, n := range scored {
		assert.Greater(t, n, 10)
	}
}

// once arranges that what a token makes happen, happens a single time.
func onceFile(t *testing.T, what string) string {
	prefix := filepath.Join(t.TempDir(), "once-")
	require.NoError(t, os.WriteFile(prefix+what, nil, 0o644))
	return onceVariable + "=" + prefix
}

// ends are what ends a worker, and the words for it.
var ends = map[string]struct {
	token int32
	why   string
}{
	"exits":  {tokenExit, "ended: exit status 9"},
	"hangs":  {tokenHang, "hangs: no answer within 2s"},
	"faults": {tokenFault, "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered"},
	"panics": {tokenPanic, "ended: exit status 2: panic: a bug of the engine"},
}

func TestABatchIsScoredAgainWhenItsWorkerEnds(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			var log []string
			var mu sync.Mutex
			o := fakeOptions(onceFile(t, "score"))
			o.Log = func(card, event string) { mu.Lock(); defer mu.Unlock(); log = append(log, card+" "+event) }
			if end.token == tokenHang {
				o.first = 2 * time.Second
			}
			c := fakeCards(t, "cuda", o)
			m := loadTiny(t, c, 1)
			assert.Equal(t, want(t, m, end.token, 1), scoreOf(t, m, end.token, 1))
			assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
			mu.Lock()
			defer mu.Unlock()
			require.NotEmpty(t, log)
			assert.Contains(t, log[0], "cuda:0 worker ")
			assert.Contains(t, log[0], end.why)
		})
	}
}

func TestABatchThatEndsTwoWorkersIsRefused(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			o := fakeOptions()
			if end.token == tokenHang {
				o.first = 2 * time.Second
			}
			c := fakeCards(t, "cuda", o)
			m := loadTiny(t, c, 1)
			var dst [1]float32
			err := c.Score(m, dst[:], []model.Sequence{sequence(end.token)})
			var away *model.UnavailableError
			require.ErrorAs(t, err, &away)
			assert.Equal(t, "cuda:0", away.Device)
			assert.GreaterOrEqual(t, away.After, time.Second)
			assert.ErrorContains(t, err, end.why)
			assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5), "the next one is scored")
			assert.Equal(t, uint64(2), c.Stats()[0].Restarts)
		})
	}
}

func TestNonsenseEndsAWorker(t *testing.T) {
	for i, g := range garbage {
		t.Run(g.name, func(t *testing.T) {
			c := fakeCards(t, "cuda", fakeOptions(onceFile(t, "score")))
			m := loadTiny(t, c, 1)
			begun := time.Now()
			assert.Equal(t, want(t, m, tokenGarbage, int32(i)), scoreOf(t, m, tokenGarbage, int32(i)))
			assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
			assert.Less(t, time.Since(begun), 5*time.Second, "it is found at once, not by the watchdog")
		})
	}
}

func TestTheWatchdogKnowsHowLongAModelTakes(t *testing.T) {
	o := Options{}.withDefaults()
	var p pace
	assert.Equal(t, o.first, o.limit(&p, 100, true), "kernels may have to be compiled")
	p.took(100, time.Millisecond)
	assert.Equal(t, 5*time.Second, o.limit(&p, 120, true), "the least")
	p.took(16000, 2*time.Second)
	assert.Equal(t, 20*time.Second, o.limit(&p, 9000, true), "ten times as long")
	assert.Equal(t, o.first, o.limit(&p, 17000, true), "a size that was never measured")
	assert.Equal(t, o.first, o.limit(&p, 9000, false), "kernels of a new worker, too")
	p.took(16000, time.Second)
	assert.Equal(t, 18750*time.Millisecond, o.limit(&p, 16000, true), "faster batches count by and by")
	p.took(16000, 3*time.Second)
	assert.Equal(t, 30*time.Second, o.limit(&p, 16000, true), "slower ones at once")
}

func TestWhatIsTooLongForACardIsRefusedByItsIndex(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	m := loadTiny(t, c, 1)
	assert.Equal(t, fakeLongest, m.Longest())
	long := model.Sequence{IDs: make([]int32, fakeLongest+1), Read: []int32{0}}
	err := c.Score(m, make([]float32, 2), []model.Sequence{sequence(1), long})
	assert.EqualError(t, err, "sequence 1: cuda: 8001 tokens, LlamaForSequenceClassification takes 8000 "+
		"on a card: cut it, or compute it on the CPU")
}

func TestWhatIsAskedOfAWorkerThatEndedSaysHowItEnded(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	c.mu.Lock()
	p := c.cards[0].live
	c.mu.Unlock()
	require.NoError(t, p.conn.Close())
	_, _, err := p.call(kindUnload, make([]byte, headerBytes), nil, time.Minute)
	assert.Regexp(t, "^ended", err.Error())
}

// The watch that is set for a first batch, which may take long, does not let the next one hang as long.
func TestABatchThatHangsBehindAFirstOneIsFoundInItsOwnTime(t *testing.T) {
	t.Parallel()
	o := fakeOptions(onceFile(t, "score"))
	o.floor, o.first = 300*time.Millisecond, time.Minute
	c := fakeCards(t, "cuda", o)
	m := loadTiny(t, c, 1)
	scoreOf(t, m, 1, 2)
	begun := time.Now()
	assert.Equal(t, want(t, m, tokenHang, 2), scoreOf(t, m, tokenHang, 2))
	assert.Less(t, time.Since(begun), 20*time.Second)
	assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
}

// What a worker is doing it says while it computes, and an answer that comes too late is not taken for
// the next one.
func TestAWorkerSaysWhatItDoesMeanwhile(t *testing.T) {
	t.Parallel()
	c := fakeCards(t, "cuda", fakeOptions())
	m := loadTiny(t, c, 1)
	var all sync.WaitGroup
	all.Go(func() { scoreOf(t, m, tokenSlow, 49, 1) }) // a second
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.cards[0].waiting > 0 },
		10*time.Second, time.Millisecond)
	for range 3 {
		all.Go(func() { assert.Equal(t, 500.0, c.Stats()[0].Power) })
	}
	all.Wait()

	worker := pid(c, 0)
	require.NoError(t, syscall.Kill(worker, syscall.SIGSTOP))
	require.Eventually(t, func() bool { return in(worker, "T") }, 10*time.Second, time.Millisecond)
	assert.Zero(t, c.Stats()[0].Power, "it says nothing")
	require.NoError(t, syscall.Kill(worker, syscall.SIGCONT))
	other := loadTiny(t, c, 2)
	var s Stats
	require.Eventually(t, func() bool { s = c.Stats()[0]; return s.Power > 0 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, int64(2), s.Free, "models, of which there was one when it was asked before")
	assert.Equal(t, want(t, other, 5), scoreOf(t, other, 5))
	runtime.KeepAlive(m)
}

// A new worker may have to compile kernels again.
func TestTheFirstBatchOfANewWorkerMayTakeLong(t *testing.T) {
	o := fakeOptions()
	o.floor = 200 * time.Millisecond
	c := fakeCards(t, "cuda", o)
	m := loadTiny(t, c, 1)
	scoreOf(t, m, 1, 2)
	kill(t, c, 0)
	assert.Equal(t, want(t, m, tokenSlow, 25), scoreOf(t, m, tokenSlow, 25))
	assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
}

func TestSealedWeightsAreReadAndNeverWritten(t *testing.T) {
	r, err := newRoom(4096)
	require.NoError(t, err)
	defer r.close()
	_, err = r.WriteAt([]byte("weights"), 8)
	require.NoError(t, err)
	require.NoError(t, r.seal())
	b := make([]byte, 4096)
	_, err = r.ReadAt(b, 0)
	require.NoError(t, err)
	assert.Equal(t, "\x00weights\x00", string(b[7:16]))
	_, err = r.WriteAt([]byte("other"), 8)
	assert.ErrorIs(t, err, syscall.EPERM)
	assert.ErrorIs(t, r.files[0].Truncate(1), syscall.EPERM)
}

// TestMemoryThatIsBusyIsSealedAMomentLater: the kernel says so of pages that it holds itself, and of
// what can still be written through a mapping.
func TestMemoryThatIsBusyIsSealedAMomentLater(t *testing.T) {
	r, err := newRoom(4096)
	require.NoError(t, err)
	defer r.close()
	b, err := unix.Mmap(int(r.files[0].Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	time.AfterFunc(50*time.Millisecond, func() { assert.NoError(t, unix.Munmap(b)) })
	require.NoError(t, r.seal())
}

func TestBatchesInAQueueAreNotHanging(t *testing.T) {
	t.Parallel()
	o := fakeOptions()
	o.first, o.floor = 2*time.Second, 2*time.Second
	c := fakeCards(t, "cuda", o)
	m := loadTiny(t, c, 1)
	var all sync.WaitGroup
	for range 8 { // 2.4 s together
		all.Go(func() { scoreOf(t, m, tokenSlow, 15) })
	}
	all.Wait()
	assert.Zero(t, c.Stats()[0].Restarts)
}

func TestAModelThatDoesNotFitCostsNothingElse(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	m := loadTiny(t, c, 1)
	before := pid(c, 0)
	large := tiny(t, tooLarge)
	_, err := c.Load(large, model.NewRandom(large, 1), model.LoadOptions{DType: kernel.BFloat16, Workers: 1})
	var memory *model.MemoryError
	require.ErrorAs(t, err, &memory)
	assert.Equal(t, model.MemoryError{Device: "cuda:0 Fake", Need: 5 << 30, Free: 3 << 30}, *memory)
	assert.Equal(t, before, pid(c, 0))
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
	kill(t, c, 0)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5), "what did not fit is not loaded again")

	huge := tiny(t, 64)
	huge.VocabSize = 1 << 30 // more than an empty card holds, which is known before a weight is read
	_, err = c.Load(huge, model.NewRandom(huge, 1), model.LoadOptions{DType: kernel.BFloat16, Workers: 1})
	require.ErrorAs(t, err, &memory)
	assert.Greater(t, memory.Need, int64(80<<30))
	assert.Equal(t, int64(1), memory.Free, "what the worker says, for whom models are bytes")

	wrong := tiny(t, 48)
	_, err = c.Load(wrong, model.NewRandom(large, 1), model.LoadOptions{DType: kernel.BFloat16, Workers: 1})
	assert.ErrorContains(t, err, "mis-shaped")
}

func TestALoadWhoseWorkerEndsIsMadeAgain(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions(onceFile(t, "load")))
	m := loadTiny(t, c, 1)
	assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
}

func TestAnInterruptedLoadLeavesNothing(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	stop := errors.New("stop")
	_, err := c.Load(tiny(t, 32), model.NewRandom(tiny(t, 32), 1),
		model.LoadOptions{DType: kernel.BFloat16, Interrupt: func() error { return stop }})
	assert.ErrorIs(t, err, stop)
	assert.Zero(t, c.Stats()[0].Free)
}

func TestModelsAreUnloaded(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	models := func() int64 { return c.Stats()[0].Free }
	m, other := loadTiny(t, c, 1), loadTiny(t, c, 2)
	require.Equal(t, int64(2), models())
	m.Close()
	m.Close()
	require.Eventually(t, func() bool { return models() == 1 }, 20*time.Second, time.Millisecond)
	var dst [1]float32
	assert.ErrorContains(t, c.Score(m, dst[:], []model.Sequence{sequence(1)}), "closed")
	kill(t, c, 0)
	assert.Equal(t, want(t, other, 5), scoreOf(t, other, 5))
	assert.Equal(t, int64(1), models(), "a closed model is not loaded again")
	require.Eventually(t, func() bool { runtime.GC(); return models() == 0 }, 5*time.Second, 10*time.Millisecond,
		"nobody has the model")
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.Empty(t, c.models)
}

func TestWithoutPatienceTheErrorSaysWhenToTryAgain(t *testing.T) {
	o := fakeOptions(fakeVariable + "=cards=1")
	o.Patience, o.pause = 50*time.Millisecond, time.Second
	slow := o.command
	var fail sync.Mutex
	o.command = func() *exec.Cmd { fail.Lock(); defer fail.Unlock(); return slow() }
	c := fakeCards(t, "cuda", o)
	m := loadTiny(t, c, 1)
	fail.Lock() // no worker starts
	kill(t, c, 0)
	require.Eventually(t, func() bool { return !c.Stats()[0].Up }, 20*time.Second, time.Millisecond)
	var dst [1]float32
	begun := time.Now()
	err := c.Score(m, dst[:], []model.Sequence{sequence(1)})
	var away *model.UnavailableError
	require.ErrorAs(t, err, &away)
	assert.ErrorContains(t, err, "signal: killed")
	assert.Less(t, time.Since(begun), 5*time.Second)
	assert.Contains(t, c.Stats()[0].Why, "killed")
	_, err = c.Load(tiny(t, 32), model.NewRandom(tiny(t, 32), 3), model.LoadOptions{DType: kernel.BFloat16})
	require.ErrorAs(t, err, &away)
	fail.Unlock()
	require.Eventually(t, func() bool { return c.Stats()[0].Up }, 20*time.Second, time.Millisecond)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
}

// TestARealModelOutlivesItsWorker runs the kernels that ship, in the interpreter of a worker's process
// or on a card.
func TestARealModelOutlivesItsWorker(t *testing.T) {
	t.Parallel()
	for _, d := range []kernel.DType{kernel.Float32, kernel.BFloat16} {
		t.Run(d.String(), func(t *testing.T) {
			onCard := os.Getenv("WARM_TEST_CARD") != ""
			kind := "=interpreter=90"
			if onCard {
				kind = "=card"
			}
			o := fakeOptions(fakeVariable+kind, onceFile(t, "score"))
			o.Patience, o.floor, o.first = time.Minute, time.Minute, time.Minute // an interpreter on a busy machine
			c := fakeCards(t, "cuda", o)
			cfg, seqs := tiny(t, 32), []model.Sequence{sequence(1, 2, 3, 4, 5), sequence(1, 2, 9), sequence(7)}
			on := func(e model.Engine) (model.Model, []float32) {
				m, err := e.Load(cfg, model.NewRandom(cfg, 1), model.LoadOptions{DType: d, Workers: 1})
				require.NoError(t, err)
				dst := make([]float32, len(seqs))
				require.NoError(t, e.Score(m, dst, seqs))
				return m, dst
			}
			m, got := on(c)
			cpu := model.NewEngine(1)
			defer cpu.Close()
			reference, wants := on(cpu)
			for i := range wants {
				most := map[kernel.DType]float64{kernel.Float32: 1e-5, kernel.BFloat16: 0.05}[d]
				assert.InDelta(t, wants[i], got[i], most)
			}
			assert.Equal(t, reference.Digest(), m.Digest())
			assert.Equal(t, reference.Parameters(), m.Parameters())
			for _, killed := range []bool{false, true} {
				if killed {
					kill(t, c, 0)
				}
				for i, s := range seqs {
					var alone [1]float32
					require.NoError(t, c.Score(m, alone[:], []model.Sequence{s}))
					assert.Equal(t, got[i], alone[0], "to the bit, alone and on the worker that follows")
				}
			}
			assert.Equal(t, uint64(1), c.Stats()[0].Restarts)

			if onCard {
				var dst [1]float32
				require.NoError(t, c.Score(m, dst[:], []model.Sequence{sequence(tokenFault, 3)}), "scored again")
				s := c.Stats()[0]
				assert.Equal(t, uint64(2), s.Restarts, "the card faulted")
				t.Logf("%s: %+v", c.Device(), s)
				return // it has room for any model of this test
			}
			text := strings.Replace(tinyJSON(32), `"vocab_size":64`, `"vocab_size":1000000`, 1)
			large, err := model.ParseConfig([]byte(text))
			require.NoError(t, err)
			_, err = c.Load(large, nothing{model.NewRandom(large, 1)},
				model.LoadOptions{DType: kernel.Float32, Workers: 2})
			var full *model.MemoryError
			require.ErrorAs(t, err, &full)
			assert.Greater(t, full.Need, full.Free)
			require.NoError(t, c.Score(m, make([]float32, 3), seqs))
			assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
		})
	}
}

// nothing is a source of zeros, which cost no time.
type nothing struct{ model.Source }

func (nothing) ReadAt(dst []float32, _ string, _ int) error { clear(dst); return nil }

func TestAProgramWithoutMainDrivesNoCards(t *testing.T) {
	called.Store(false)
	_, err := Open("cuda", Options{})
	assert.ErrorContains(t, err, "does not begin with worker.Main()")
}

func TestBatchesSpreadOverCards(t *testing.T) {
	t.Parallel()
	c := fakeCards(t, "cuda:all", fakeOptions(fakeVariable+"=cards=3"))
	assert.Equal(t, "cuda:0,1,2 Fake", c.Device())
	m := loadTiny(t, c, 1)
	var seqs []model.Sequence
	var wants []float32
	for i := range 64 {
		ids := make([]int32, 200+i)
		for j := range ids {
			ids[j] = int32((i + j) % 50)
		}
		seqs, wants = append(seqs, sequence(ids...)), append(wants, want(t, m, ids...))
	}
	dst := make([]float32, len(seqs))
	require.NoError(t, c.Score(m, dst, seqs))
	assert.Equal(t, wants, dst)
	pids := map[int]bool{}
	for _, s := range c.Stats() {
		assert.Equal(t, uint64(1), s.Batches, "a large batch is divided")
		assert.InDelta(t, tokensOf(seqs)/3, s.Tokens, 300)
		assert.Equal(t, int64(1), s.Free)
		pids[int(s.Total)] = true
	}
	assert.Len(t, pids, 3)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { scoreOf(t, m, tokenSlow, 49, 1) })
	}
	all.Wait()
	for _, s := range c.Stats() {
		assert.Equal(t, uint64(2), s.Batches, "each to the card with the least to do")
	}
	kill(t, c, 1)
	begun := time.Now()
	clear(dst)
	require.NoError(t, c.Score(m, dst, seqs))
	assert.Equal(t, wants, dst)
	assert.Less(t, time.Since(begun), 5*time.Second)

	two := fakeCards(t, "cuda:2,0", fakeOptions(fakeVariable+"=cards=3"))
	assert.Equal(t, "cuda:2,0 Fake", two.Device())
	loadTiny(t, two, 1)
	_, err := c.Load(tiny(t, tooLarge), model.NewRandom(tiny(t, tooLarge), 1),
		model.LoadOptions{DType: kernel.BFloat16})
	assert.ErrorContains(t, err, "are needed")
}

func TestABatchIsDividedBetweenNeighbours(t *testing.T) {
	c := &Cards{}
	for range 4 {
		c.cards = append(c.cards, &card{live: &process{done: make(chan struct{})}})
	}
	batch := func(lengths ...int) []model.Sequence {
		var out []model.Sequence
		for _, n := range lengths {
			out = append(out, model.Sequence{IDs: make([]int32, n)})
		}
		return out
	}
	assert.Equal(t, []int{4}, c.divide(batch(10, 10, 10, 10)))
	assert.Equal(t, []int{1}, c.divide(batch(40000)))
	assert.Equal(t, []int{1, 2, 3, 4}, c.divide(batch(8000, 8000, 8000, 8000)))
	assert.Equal(t, []int{1, 2}, c.divide(batch(4000, 4200)))
	assert.Equal(t, []int{2, 4, 6, 8}, c.divide(batch(5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000)))
	assert.Equal(t, []int{0}, c.divide(nil))
	c.cards[0].waiting, c.cards[1].live = 7, nil
	assert.Equal(t, []int{2, 4}, c.divide(batch(8000, 8000, 8000, 8000)), "those that are busy or away get none")
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := make([]int, 1+r.IntN(40))
		for i := range n {
			n[i] = 1 + r.IntN(6000)
		}
		ends := c.divide(batch(n...))
		assert.Equal(t, len(n), ends[len(ends)-1])
		assert.True(t, slices.IsSorted(ends) && ends[0] > 0 && len(slices.Compact(ends)) == len(ends))
	}
}

func TestWhyThereIsNoWorker(t *testing.T) {
	_, err := Open("cuda", fakeOptions(fakeVariable+"=none"))
	assert.ErrorIs(t, err, ErrNoCard)
	assert.EqualError(t, err, "cuda: no libcuda.so.1 (not found): install NVIDIA's driver")
	_, err = Open("cuda:0,5", fakeOptions(fakeVariable+"=second"))
	assert.ErrorIs(t, err, ErrNoCard)
	assert.ErrorContains(t, err, "there is no card 5: this machine has one, cuda:0")
	_, err = Open("cuda", fakeOptions(fakeVariable+"=broken"))
	assert.NotErrorIs(t, err, ErrNoCard)
	assert.ErrorContains(t, err, "the worker of cuda:0: cuda: cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)")
	o := fakeOptions(fakeVariable + "=slow")
	o.opening = 100 * time.Millisecond
	_, err = Open("cuda", o)
	assert.ErrorContains(t, err, "the driver did not give the card within 100ms")
	o.command = func() *exec.Cmd { return exec.Command("/nonexistent") }
	_, err = Open("cuda", o)
	assert.ErrorContains(t, err, "no such file")
	o.command = func() *exec.Cmd { return exec.Command("sh", "-c", "echo 'cannot do it' >&2; exit 4") }
	_, err = Open("cuda", o)
	assert.ErrorContains(t, err, "ended: exit status 4: cannot do it")
	for _, spec := range []string{"", "cpu", "cuda:", "cuda:a", "cuda:0,0", "cuda:-1", "cuda:0,", "cudas"} {
		_, err = Open(spec, o)
		assert.ErrorContains(t, err, "want cuda, cuda:all or cards by their numbers", spec)
	}
}

func TestClosedCardsLeaveNoProcess(t *testing.T) {
	c := fakeCards(t, "cuda:all", fakeOptions(fakeVariable+"=cards=2"))
	m := loadTiny(t, c, 1)
	a, b := pid(c, 0), pid(c, 1)
	done := make(chan error)
	go func() { done <- c.Score(m, make([]float32, 1), []model.Sequence{sequence(tokenHang)}) }()
	time.Sleep(50 * time.Millisecond)
	c.Close()
	c.Close()
	assert.ErrorContains(t, <-done, "closed")
	for _, p := range []int{a, b} {
		assert.ErrorIs(t, syscall.Kill(p, 0), syscall.ESRCH)
	}
	assert.ErrorContains(t, c.Score(m, make([]float32, 1), []model.Sequence{sequence(1)}), "closed")
	_, err := c.Load(tiny(t, 32), model.NewRandom(tiny(t, 32), 1), model.LoadOptions{DType: kernel.BFloat16})
	assert.ErrorContains(t, err, "closed")
	m.Close()
}

func TestAWorkerDoesNotHeedSignalsToItsGroup(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	m := loadTiny(t, c, 1)
	worker := pid(c, 0)
	require.Positive(t, worker)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		require.NoError(t, syscall.Kill(worker, s))
	}
	time.Sleep(50 * time.Millisecond)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
	assert.Zero(t, c.Stats()[0].Restarts)
	group, err := syscall.Getpgid(worker)
	require.NoError(t, err)
	assert.NotEqual(t, syscall.Getpgrp(), group, "an interrupt at the terminal does not reach it")
}

// parent is a process with a worker that hangs, which it names.
func parent() {
	c, err := Open("cuda", fakeOptions(roleVariable+"="))
	if err != nil {
		panic(err)
	}
	m, err := c.Load(tiny(&testing.T{}, 32), model.NewRandom(tiny(&testing.T{}, 32), 1),
		model.LoadOptions{DType: kernel.BFloat16})
	if err != nil {
		panic(err)
	}
	fmt.Println(pid(c, 0))
	_ = c.Score(m, make([]float32, 1), []model.Sequence{sequence(tokenHang)})
	os.Exit(1)
}

func TestAWorkerEndsWithItsParent(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"=parent")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 32)
	n, err := out.Read(line)
	require.NoError(t, err)
	worker, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond) // it computes
	require.NoError(t, syscall.Kill(worker, 0))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	assert.Eventually(t, func() bool { return gone(worker) }, 20*time.Second, 5*time.Millisecond)
}

// gone reports whether a process ended, reaped or not.
func gone(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err != nil || in(pid, "Z")
}

// in reports whether a process is in a state.
func in(pid int, state string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") "+state+" ")
}

func TestAnythingAtOnce(t *testing.T) {
	t.Parallel()
	c := fakeCards(t, "cuda:all", fakeOptions(fakeVariable+"=cards=2"))
	keep := loadTiny(t, c, 1)
	wanted := want(t, keep, 1, 2)
	stop := time.Now().Add(3 * time.Second)
	if testing.Short() {
		stop = time.Now().Add(time.Second)
	}
	var all sync.WaitGroup
	patient := func(err error) bool { // a batch that met two ends is refused
		var away *model.UnavailableError
		return err == nil || errors.As(err, &away)
	}
	for i := range 4 {
		all.Go(func() {
			for time.Now().Before(stop) {
				m, err := c.Load(tiny(t, 32), model.NewRandom(tiny(t, 32), uint64(i)),
					model.LoadOptions{DType: kernel.BFloat16})
				if err != nil {
					assert.True(t, patient(err), "%v", err)
					continue
				}
				var dst [2]float32
				if err := c.Score(m, dst[:1], []model.Sequence{sequence(3)}); err == nil {
					assert.Equal(t, want(t, m.(*Model), 3), dst[0])
				} else {
					assert.True(t, patient(err), "%v", err)
				}
				m.Close()
				if err := c.Score(keep, dst[:1], []model.Sequence{sequence(1, 2)}); err == nil {
					assert.Equal(t, wanted, dst[0])
				} else {
					assert.True(t, patient(err), "%v", err)
				}
			}
		})
	}
	for i := 0; time.Now().Before(stop); i++ {
		time.Sleep(150 * time.Millisecond)
		if p := pid(c, i%2); p != 0 {
			_ = syscall.Kill(p, syscall.SIGKILL)
		}
	}
	all.Wait()
	assert.Equal(t, wanted, scoreOf(t, keep, 1, 2))
	assert.Eventually(t, func() bool {
		s := c.Stats()
		return s[0].Free == 1 && s[1].Free == 1
	}, 10*time.Second, 10*time.Millisecond, "every model but one was given up")
	runtime.KeepAlive(keep) // which is given up, too, once nobody holds it
}
