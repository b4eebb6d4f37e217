//go:build amd64 && linux && !noasm

package kernel

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMatrixTilesUnderStress multiplies on many threads while the collector runs, the
// profiler and preemption send signals, stacks grow and GOMAXPROCS changes: whatever
// comes between two instructions, the tiles are those of the thread.
func TestMatrixTilesUnderStress(t *testing.T) {
	if cpuHas.level < AMX {
		t.Skipf("no matrix unit: %v", hasTiles())
	}
	var jobs []stressJob
	r := rand.New(rand.NewPCG(13, 13))
	defer SetLevel(AMXFloat32)()
	for _, d := range allDTypes {
		for range 6 {
			e := []Epilogue{Store, Add, GELU}[r.IntN(3)]
			p := newProblem(r, d, 1+r.IntN(RowBlock), 32+r.IntN(700), 32+r.IntN(300), e, true).Product
			jobs = append(jobs, stressJob{p, p.C, stressed(p, p.C, &Scratch{})})
		}
	}
	var profile bytes.Buffer
	require.NoError(t, pprof.StartCPUProfile(&profile))
	defer pprof.StopCPUProfile()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer debug.SetGCPercent(debug.SetGCPercent(5))

	var stop atomic.Bool
	var wrong, done, signals atomic.Int64
	var wg sync.WaitGroup
	loop := func(f func(n int)) {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				f(n)
			}
		})
	}
	for w := range 24 {
		r, s := rand.New(rand.NewPCG(uint64(w), 1)), &Scratch{}
		loop(func(n int) {
			if n == 0 && w%4 == 0 {
				runtime.LockOSThread() // ends with the goroutine
			}
			j := jobs[r.IntN(len(jobs))]
			var got []float32
			deep(40*(w%3/2), func() { got = stressed(j.p, j.c, s) })
			if !slices.Equal(j.want, got) {
				wrong.Add(1)
			}
			done.Add(1)
		})
	}
	loop(func(int) { // to the process: any thread takes them
		assert.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGURG))
		signals.Add(1)
		time.Sleep(20 * time.Microsecond)
	})
	loop(func(int) { runtime.GC() })
	loop(func(n int) { runtime.GOMAXPROCS(1 + n%17); time.Sleep(3 * time.Millisecond) })
	time.Sleep(2 * time.Second)
	stop.Store(true)
	wg.Wait()
	t.Logf("%d products, %d signals", done.Load(), signals.Load())
	require.Zero(t, wrong.Load(), "of %d products", done.Load())
}

type stressJob struct {
	p       Product
	c, want []float32
}

// stressed computes p from c, between whose rows are no guards: those are NaN.
func stressed(p Product, c []float32, s *Scratch) []float32 {
	p.C = slices.Clone(c)
	p.All(s)
	for i := range p.C {
		if p.C[i] != p.C[i] {
			p.C[i] = 0
		}
	}
	return p.C
}

// deep runs f at the end of a stack that grows by 512 bytes a call.
//
//go:noinline
func deep(n int, f func()) {
	var pad [512]byte
	pad[n%512] = byte(n)
	if n == 0 {
		f()
	} else {
		deep(n-1, f)
	}
	runtime.KeepAlive(&pad)
}
