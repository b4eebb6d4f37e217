package driver

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

// library holds the addresses of the driver's functions.
type library struct {
	init, driverVersion, deviceCount, deviceGet, deviceName, deviceAttribute, devicePCI uintptr
	contextRetain, contextRelease, contextSetCurrent, contextSynchronize, memoryInfo    uintptr
	moduleLoad, moduleFunction, functionSet, functionGet                                uintptr
	memoryAlloc, memoryFree, hostAlloc, hostFree, toDevice, toHost                      uintptr
	launch, launchEx, tensorMap                                                         uintptr
	streamCreate, streamDestroy, streamSynchronize, captureBegin, captureEnd            uintptr
	graphInstantiate, graphDestroy, graphExecDestroy, graphLaunch                       uintptr
	eventCreate, eventDestroy, eventRecord, eventSynchronize, eventElapsed              uintptr
	errorName, errorString                                                              uintptr

	management *management // nil where it is not installed; see managed
	managing   sync.WaitGroup
}

// symbol is a function that the library is asked for.
type symbol struct {
	name     string
	at       *uintptr
	optional bool // older drivers that run some of our kernels lack it
}

func (l *library) symbols() []symbol {
	return []symbol{
		{"cuInit", &l.init, false}, {"cuDriverGetVersion", &l.driverVersion, false},
		{"cuDeviceGetCount", &l.deviceCount, false}, {"cuDeviceGet", &l.deviceGet, false},
		{"cuDeviceGetName", &l.deviceName, false}, {"cuDeviceGetAttribute", &l.deviceAttribute, false},
		{"cuDeviceGetPCIBusId", &l.devicePCI, false},
		{"cuDevicePrimaryCtxRetain", &l.contextRetain, false},
		{"cuDevicePrimaryCtxRelease_v2", &l.contextRelease, false},
		{"cuCtxSetCurrent", &l.contextSetCurrent, false}, {"cuCtxSynchronize", &l.contextSynchronize, false},
		{"cuMemGetInfo_v2", &l.memoryInfo, false},
		{"cuModuleLoadDataEx", &l.moduleLoad, false}, {"cuModuleGetFunction", &l.moduleFunction, false},
		{"cuFuncSetAttribute", &l.functionSet, false}, {"cuFuncGetAttribute", &l.functionGet, false},
		{"cuMemAlloc_v2", &l.memoryAlloc, false}, {"cuMemFree_v2", &l.memoryFree, false},
		{"cuMemHostAlloc", &l.hostAlloc, false}, {"cuMemFreeHost", &l.hostFree, false},
		{"cuMemcpyHtoDAsync_v2", &l.toDevice, false}, {"cuMemcpyDtoHAsync_v2", &l.toHost, false},
		{"cuLaunchKernel", &l.launch, false}, {"cuLaunchKernelEx", &l.launchEx, true},
		{"cuTensorMapEncodeTiled", &l.tensorMap, true},
		{"cuStreamCreate", &l.streamCreate, false}, {"cuStreamDestroy_v2", &l.streamDestroy, false},
		{"cuStreamSynchronize", &l.streamSynchronize, false},
		{"cuStreamBeginCapture_v2", &l.captureBegin, false}, {"cuStreamEndCapture", &l.captureEnd, false},
		{"cuGraphInstantiateWithFlags", &l.graphInstantiate, false}, {"cuGraphDestroy", &l.graphDestroy, false},
		{"cuGraphExecDestroy", &l.graphExecDestroy, false}, {"cuGraphLaunch", &l.graphLaunch, false},
		{"cuEventCreate", &l.eventCreate, false}, {"cuEventDestroy_v2", &l.eventDestroy, false},
		{"cuEventRecord", &l.eventRecord, false}, {"cuEventSynchronize", &l.eventSynchronize, false},
		{"cuEventElapsedTime", &l.eventElapsed, false},
		{"cuGetErrorName", &l.errorName, false}, {"cuGetErrorString", &l.errorString, false},
	}
}

// bind asks for every function.
func (l *library) bind(find func(name string) (uintptr, error)) error {
	for _, s := range l.symbols() {
		p, err := find(s.name)
		if err != nil || p == 0 {
			if s.optional {
				continue
			}
			return &LibraryError{Reason: fmt.Sprintf("libcuda.so.1 has no %s", s.name),
				Remedy: "the driver is too old; install release 525 or later"}
		}
		*s.at = p
	}
	return nil
}

// start loads the library once for the process and initialises the driver.
var start = sync.OnceValues(func() (*library, error) {
	l, err := load()
	if err != nil {
		return nil, err
	}
	return l, l.begin()
})

// begin initialises the driver, and the management library beside it.
func (l *library) begin() error {
	if l.management != nil {
		l.managing.Go(func() {
			if invoke(l.management.init) != 0 {
				l.management = nil
			}
		})
	}
	err := l.call("cuInit", l.init, 0)
	var e *Error
	if errors.As(err, &e) && e.Code == noDevice {
		return &NoCardError{Ordinal: -1, Err: err}
	}
	return err
}

// managed returns the management library once it is ready, nil when there is none.
func (l *library) managed() *management {
	l.managing.Wait()
	return l.management
}

// call calls a function of the driver. Pointers among the arguments must be converted in
// the call itself, so that what they point to stays where it is.
//
//go:uintptrescapes
func (l *library) call(name string, fn uintptr, args ...uintptr) error {
	if fn == 0 {
		return &LibraryError{Reason: "libcuda.so.1 has no " + name,
			Remedy: "the driver is too old for these kernels; install release 545 or later"}
	}
	if code := invoke(fn, args...); code != 0 {
		return l.fail(name, int(code))
	}
	return nil
}

// fail makes an error of a status.
func (l *library) fail(call string, code int) *Error {
	words := func(fn uintptr) string {
		var p *byte
		if invoke(fn, uintptr(code), uintptr(unsafe.Pointer(&p))) != 0 || p == nil {
			return "unknown to the driver"
		}
		return cString(p)
	}
	return &Error{Call: call, Code: code, Name: words(l.errorName), Text: words(l.errorString)}
}

// cString copies a string of the library's.
func cString(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// Find opens the driver's library without starting it, which takes a while where there
// are cards. The error says why it cannot be used.
func Find() error {
	_, err := load()
	return err
}
