//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
)

// fakeDriver stands in for libcuda.so.1: functions of Go that are called as those of C are.
// Work of its stream is done as late as the driver may do it: when something waits for it.
type fakeDriver struct {
	cards, capability int
	version           int
	free              uint64

	memory   map[uintptr][]byte
	queue    []func()
	done     int             // of all that was ever queued
	events   map[uintptr]int // what was queued before each
	graphs   map[uintptr][]func()
	handles  uintptr
	names    map[uintptr]string // of modules and kernels
	images   [][]byte
	old      bool                // takes no machine code
	shared   map[uintptr]uintptr // that was asked for, by kernel
	launches []fakeLaunch        // that ran
	current  uintptr             // context; one for all threads will do
	captured []func()
	capture  bool
	fault    int            // status of everything from now on
	refuse   map[string]int // status of a function
	maps     [][]uintptr    // arguments of tensor maps
	freed    int
	calls    map[string]int // of functions that have a status
}

// fakeLaunch is what a launch asked for.
type fakeLaunch struct {
	name        string
	grid, block uint32
	shared      uint32
	cluster     uint32
	early       bool
	extended    bool
	arguments   []byte
}

const fakeContext = 0xc0de

var fake = sync.OnceValue(func() *fakeDriver { return new(fakeDriver) })

// fakeLibrary returns a library of an idle driver with one card. There is one for all
// tests, as callbacks are never given back.
func fakeLibrary(t *testing.T) (*library, *fakeDriver) {
	t.Helper()
	f := fake()
	*f = fakeDriver{cards: 1, capability: 90, version: 13000, free: 3 << 30, handles: 1000,
		memory: map[uintptr][]byte{}, events: map[uintptr]int{}, graphs: map[uintptr][]func(){},
		names: map[uintptr]string{}, calls: map[string]int{},
		shared: map[uintptr]uintptr{}, refuse: map[string]int{}}
	l := &library{management: new(management)}
	require.NoError(t, l.bind(fakeSymbol))
	require.True(t, l.management.bind(fakeSymbol))
	return l, f
}

// fakeCard opens a card of a fake driver, whose modules are their names as text.
func fakeCard(t *testing.T) (*Card, *fakeDriver) {
	t.Helper()
	l, f := fakeLibrary(t)
	c, err := l.open(0)
	require.NoError(t, err)
	c.images = func(module string, _ int) ([]image, error) {
		return []image{{[]byte(".version 8.3\n.target sm_90a\n// " + module), true}}, nil
	}
	t.Cleanup(func() { f.fault = 0; require.NoError(t, c.Close()) })
	return c, f
}

var fakeCallbacks = sync.OnceValue(func() map[string]uintptr {
	f := fake()
	all := map[string]uintptr{}
	for name, fn := range f.functions() {
		all[name] = purego.NewCallback(fn)
	}
	return all
})

func fakeSymbol(name string) (uintptr, error) {
	p := fakeCallbacks()[name]
	if p == 0 {
		return 0, fmt.Errorf("undefined symbol: %s", name)
	}
	return p, nil
}

func put[T any](at uintptr, v T) { *(*T)(foreign(at)) = v }

func raw(at, n uintptr) []byte { return unsafe.Slice((*byte)(foreign(at)), n) }

func (f *fakeDriver) handle() uintptr { f.handles++; return f.handles }

// status is what a function returns: of a fault, of a refusal, or 0.
func (f *fakeDriver) status(name string) uintptr {
	f.calls[name]++
	switch {
	case f.fault != 0:
		return uintptr(f.fault)
	case f.current != fakeContext:
		return 201
	}
	return uintptr(f.refuse[name])
}

// run does what is queued before a point.
func (f *fakeDriver) run(until int) {
	for f.done < until && len(f.queue) > 0 {
		f.queue[0]()
		f.queue = f.queue[1:]
		f.done++
	}
}

func (f *fakeDriver) all() int { return f.done + len(f.queue) }

// add queues work, or captures it.
func (f *fakeDriver) add(work func()) {
	if f.capture {
		f.captured = append(f.captured, work)
	} else {
		f.queue = append(f.queue, work)
	}
}

func (f *fakeDriver) launch(l fakeLaunch, fn, parameters uintptr) uintptr {
	l.name = f.names[fn]
	if uintptr(l.shared) != f.shared[fn] {
		return 1
	}
	l.arguments = bytes.Clone(raw(*(*uintptr)(foreign(parameters)), 16))
	f.add(func() { f.launches = append(f.launches, l) })
	return 0
}

// functions are those that the package calls, by name.
func (f *fakeDriver) functions() map[string]any {
	m := f.basics()
	for _, more := range []map[string]any{f.copies(), f.launching(), f.graphing(), f.managing()} {
		for k, v := range more {
			m[k] = v
		}
	}
	return m
}

func (f *fakeDriver) basics() map[string]any {
	text := func(s string) *byte { return &append([]byte(s), 0)[0] }
	names := map[int]*byte{2: text("CUDA_ERROR_OUT_OF_MEMORY"), 100: text("CUDA_ERROR_NO_DEVICE"),
		700: text("CUDA_ERROR_ILLEGAL_ADDRESS")}
	words := map[int]*byte{2: text("out of memory"), 100: text("no CUDA-capable device is detected"),
		700: text("an illegal memory access was encountered")}
	say := func(of map[int]*byte) any {
		return func(code, to uintptr) uintptr {
			p := of[int(code)]
			put(to, p)
			if p == nil {
				return 1
			}
			return 0
		}
	}
	return map[string]any{
		"cuInit":              func(uintptr) uintptr { return uintptr(f.refuse["cuInit"]) },
		"cuDriverGetVersion":  func(to uintptr) uintptr { put(to, int32(f.version)); return 0 },
		"cuDeviceGetCount":    func(to uintptr) uintptr { put(to, int32(f.cards)); return 0 },
		"cuDeviceGet":         func(to, i uintptr) uintptr { put(to, int32(i)); return 0 },
		"cuDeviceGetName":     func(to, n, _ uintptr) uintptr { copy(raw(to, n), "NVIDIA Fake\x00"); return 0 },
		"cuDeviceGetPCIBusId": func(to, n, _ uintptr) uintptr { copy(raw(to, n), "0000:01:00.0\x00"); return 0 },
		"cuDeviceGetAttribute": func(to, a, _ uintptr) uintptr {
			put(to, int32(map[uintptr]int{16: 132, 75: f.capability / 10, 76: f.capability % 10, 97: 227 << 10}[a]))
			return 0
		},
		"cuDevicePrimaryCtxRetain": func(to, _ uintptr) uintptr {
			put(to, uintptr(fakeContext))
			return uintptr(f.refuse["cuDevicePrimaryCtxRetain"])
		},
		"cuDevicePrimaryCtxRelease_v2": func(uintptr) uintptr { return 0 },
		"cuCtxSetCurrent":              func(c uintptr) uintptr { f.current = c; return 0 },
		"cuCtxSynchronize":             func() uintptr { f.run(f.all()); return f.status("cuCtxSynchronize") },
		"cuMemGetInfo_v2": func(free, total uintptr) uintptr {
			put(free, f.free)
			put(total, uint64(80<<30))
			return f.status("cuMemGetInfo_v2")
		},
		"cuGetErrorName":   say(names),
		"cuGetErrorString": say(words),
	}
}

func (f *fakeDriver) copies() map[string]any {
	return map[string]any{
		"cuMemAlloc_v2": func(to, n uintptr) uintptr {
			if s := f.status("cuMemAlloc_v2"); s != 0 {
				return s
			}
			if uint64(n) > f.free {
				return 2
			}
			b := make([]byte, n)
			p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
			f.memory[p] = b
			put(to, uint64(p))
			return 0
		},
		"cuMemFree_v2": func(p uintptr) uintptr {
			f.run(f.all())
			delete(f.memory, p)
			f.freed++
			return f.status("cuMemFree_v2")
		},
		"cuMemHostAlloc": func(to, n, _ uintptr) uintptr {
			b := make([]byte, n)
			p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
			f.memory[p] = b
			put(to, p)
			return f.status("cuMemHostAlloc")
		},
		"cuMemFreeHost": func(p uintptr) uintptr { delete(f.memory, p); return 0 },
		"cuMemcpyHtoDAsync_v2": func(dst, src, n, _ uintptr) uintptr {
			f.add(func() { copy(raw(dst, n), raw(src, n)) })
			return f.status("cuMemcpyHtoDAsync_v2")
		},
		"cuMemcpyDtoHAsync_v2": func(dst, src, n, _ uintptr) uintptr {
			f.add(func() { copy(raw(dst, n), raw(src, n)) })
			return f.status("cuMemcpyDtoHAsync_v2")
		},
	}
}

func (f *fakeDriver) launching() map[string]any {
	return map[string]any{
		"cuModuleLoadDataEx": func(to, image, n, options, values uintptr) uintptr {
			if f.capture {
				return 900
			}
			text := []byte(cString((*byte)(foreign(image))))
			f.images = append(f.images, text)
			if f.old && !bytes.HasPrefix(text, []byte(".version")) && !bytes.HasPrefix(text, []byte("//")) {
				return noBinary
			}
			if s := f.status("cuModuleLoadDataEx"); s != 0 {
				if n == 2 && *(*uint32)(foreign(options)) == optionErrors {
					log := *(*uintptr)(foreign(values))
					copy(raw(log, *(*uintptr)(foreign(values + 8))), "ptxas application ptx input, line 1; fatal\nmore\x00")
				}
				return s
			}
			h := f.handle()
			put(to, h)
			return 0
		},
		"cuModuleGetFunction": func(to, _, name uintptr) uintptr {
			h := f.handle()
			f.names[h] = cString((*byte)(foreign(name)))
			put(to, h)
			return f.status("cuModuleGetFunction")
		},
		"cuFuncSetAttribute": func(fn, a, v uintptr) uintptr {
			if a == functionShared {
				f.shared[fn] = v
			}
			return 0
		},
		"cuFuncGetAttribute": func(to, a, _ uintptr) uintptr {
			put(to, int32(map[uintptr]int{functionLocal: 0, functionRegister: 168}[a]))
			return 0
		},
		"cuLaunchKernel": func(fn, gx, gy, gz, bx, by, bz, shared, _, parameters, extra uintptr) uintptr {
			if s := f.status("cuLaunchKernel"); s != 0 || gy != 1 || gz != 1 || by != 1 || bz != 1 || extra != 0 {
				return max(s, 1)
			}
			return f.launch(fakeLaunch{grid: uint32(gx), block: uint32(bx), shared: uint32(shared)}, fn, parameters)
		},
		"cuLaunchKernelEx": func(config, fn, parameters, extra uintptr) uintptr {
			words := unsafe.Slice((*uint32)(foreign(config)), 14)
			flat := slices.Equal(words[1:3], []uint32{1, 1}) && slices.Equal(words[4:6], []uint32{1, 1})
			if s := f.status("cuLaunchKernelEx"); s != 0 || extra != 0 || !flat {
				return max(s, 1)
			}
			l := fakeLaunch{grid: words[0], block: words[3], shared: words[6], extended: true}
			attributes := *(*uintptr)(foreign(config + 40))
			for i := range uintptr(words[12]) {
				at := attributes + i*72
				switch value := unsafe.Slice((*uint32)(foreign(at+8)), 3); *(*uint32)(foreign(at)) {
				case 4:
					if value[1] != 1 || value[2] != 1 {
						return 1
					}
					l.cluster = value[0]
				case 6:
					l.early = value[0] == 1
				default:
					return 1
				}
			}
			return f.launch(l, fn, parameters)
		},
		"cuTensorMapEncodeTiled": func(to, kind, rank, p, dims, strides, box, steps, interleave, swizzle, promotion,
			fill uintptr) uintptr {
			if to%64 != 0 {
				return 1
			}
			d, b := unsafe.Slice((*uint64)(foreign(dims)), 2), unsafe.Slice((*uint32)(foreign(box)), 2)
			s := unsafe.Slice((*uint32)(foreign(steps)), 2)
			f.maps = append(f.maps, []uintptr{kind, rank, p, uintptr(d[0]), uintptr(d[1]),
				*(*uintptr)(foreign(strides)), uintptr(b[0]), uintptr(b[1]), uintptr(s[0]), uintptr(s[1]), interleave, swizzle, promotion, fill})
			copy(raw(to, 128), bytes.Repeat([]byte{7}, 128))
			return f.status("cuTensorMapEncodeTiled")
		},
	}
}

func (f *fakeDriver) graphing() map[string]any {
	return map[string]any{
		"cuStreamCreate": func(to, _ uintptr) uintptr {
			put(to, f.handle())
			return f.status("cuStreamCreate")
		},
		"cuStreamDestroy_v2":  func(uintptr) uintptr { return 0 },
		"cuStreamSynchronize": func(uintptr) uintptr { f.run(f.all()); return f.status("cuStreamSynchronize") },
		"cuStreamBeginCapture_v2": func(_, mode uintptr) uintptr {
			f.capture, f.captured = true, nil
			return f.status("cuStreamBeginCapture_v2")
		},
		"cuStreamEndCapture": func(_, to uintptr) uintptr {
			f.capture = false
			h := f.handle()
			f.graphs[h] = f.captured
			put(to, h)
			return f.status("cuStreamEndCapture")
		},
		"cuGraphInstantiateWithFlags": func(to, g, _ uintptr) uintptr {
			h := f.handle()
			f.graphs[h] = f.graphs[g]
			put(to, h)
			return f.status("cuGraphInstantiateWithFlags")
		},
		"cuGraphDestroy":     func(g uintptr) uintptr { delete(f.graphs, g); return 0 },
		"cuGraphExecDestroy": func(g uintptr) uintptr { delete(f.graphs, g); return 0 },
		"cuGraphLaunch": func(g, _ uintptr) uintptr {
			f.queue = append(f.queue, f.graphs[g]...)
			return f.status("cuGraphLaunch")
		},
		"cuEventCreate":     func(to, _ uintptr) uintptr { put(to, f.handle()); return f.status("cuEventCreate") },
		"cuEventDestroy_v2": func(uintptr) uintptr { return 0 },
		"cuEventRecord":     func(e, _ uintptr) uintptr { f.events[e] = f.all(); return f.status("cuEventRecord") },
		"cuEventSynchronize": func(e uintptr) uintptr {
			f.run(f.events[e])
			return f.status("cuEventSynchronize")
		},
		"cuEventElapsedTime": func(to, a, b uintptr) uintptr {
			put(to, float32(f.events[b]-f.events[a])/2)
			return f.status("cuEventElapsedTime")
		},
	}
}

func (f *fakeDriver) managing() map[string]any {
	return map[string]any{
		"nvmlInit_v2": func() uintptr { return 0 },
		"nvmlDeviceGetHandleByPciBusId_v2": func(name, to uintptr) uintptr {
			if cString((*byte)(foreign(name))) != "0000:01:00.0" {
				return 6
			}
			put(to, uintptr(77))
			return 0
		},
		"nvmlDeviceGetClockInfo":     func(_, which, to uintptr) uintptr { put(to, uint32(1000*which)); return 0 },
		"nvmlDeviceGetPowerUsage":    func(_, to uintptr) uintptr { put(to, uint32(695500)); return 0 },
		"nvmlDeviceGetTemperature":   func(_, _, to uintptr) uintptr { put(to, uint32(61)); return 0 },
		"nvmlSystemGetDriverVersion": func(to, n uintptr) uintptr { copy(raw(to, n), "580.1.2\x00"); return 0 },
	}
}
