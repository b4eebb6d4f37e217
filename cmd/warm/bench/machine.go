package bench

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
)

// Seed is the seed of the random weights that are measured.
const Seed = 1

// UsageError is a mistake in what is to be measured: nothing was.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// machine is what the engine and training are measured with.
type machine struct {
	random string
	dtypes []string
	level  string
}

// prepare reads the configuration, and sets the CPU level until restore is called.
func (m machine) prepare(counts ...count) (cfg *model.Config, dtypes []kernel.DType, restore func(),
	err error) {
	if m.random == "" {
		return nil, nil, nil, usagef("--random CONFIG.json is needed: what is measured")
	}
	if err := atLeastOne(counts...); err != nil {
		return nil, nil, nil, err
	}
	if dtypes, err = parseDTypes(m.dtypes); err != nil {
		return nil, nil, nil, err
	}
	data, err := os.ReadFile(m.random)
	if err != nil {
		return nil, nil, nil, UsageError{err}
	}
	if cfg, err = model.ParseConfig(data); err != nil {
		return nil, nil, nil, err
	}
	restore, err = useLevel(m.level)
	return cfg, dtypes, restore, err
}

// count is a number on the command line.
type count struct {
	flag string
	n    int
}

// atLeastOne refuses numbers below 1.
func atLeastOne(values ...count) error {
	var errs []error
	for _, v := range values {
		if v.n < 1 {
			errs = append(errs, usagef("--%s: %d, want at least 1", v.flag, v.n))
		}
	}
	return errors.Join(errs...)
}

// parseDTypes reads the number formats of --dtype.
func parseDTypes(names []string) ([]kernel.DType, error) {
	var out []kernel.DType
	for _, s := range names {
		d, err := kernel.ParseDType(s)
		if err != nil {
			return nil, UsageError{err}
		}
		out = append(out, d)
	}
	return out, nil
}

// useLevel sets the CPU level of --level, "" being the best, and returns what
// sets it back.
func useLevel(name string) (restore func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	l, err := kernel.ParseLevel(name)
	if err != nil {
		return nil, usagef("--level: %w", err)
	}
	return kernel.SetLevel(l), nil
}

// onAll runs f on every thread at once and adds up what they return.
func onAll(threads int, f func() float64) float64 {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		sum float64
	)
	for range threads {
		wg.Go(func() {
			v := f()
			mu.Lock()
			sum += v
			mu.Unlock()
		})
	}
	wg.Wait()
	return sum
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// cpuName returns the processor's name, or the architecture where the system
// does not say.
func cpuName() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// rss returns the resident memory of the process in bytes, 0 where the system
// does not say.
func rss() int {
	data, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(data))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return pages * os.Getpagesize()
}
