package driver

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// Attributes of devices and kernels.
const (
	attributeSMs     = 16
	attributeMajor   = 75
	attributeMinor   = 76
	attributeShared  = 97 // most shared memory that a block may ask for
	functionLocal    = 3
	functionRegister = 4
	functionShared   = 8 // dynamic shared memory, which is to be asked for above 48 KiB
)

// Card is a card with its context and one stream. It implements [cuda.Device].
type Card struct {
	lib     *library
	device  uintptr
	context uintptr
	stream  uintptr
	limits  cuda.Limits // without what changes
	shared  int         // most dynamic shared memory of a block, bytes
	release string      // of the driver
	handle  uintptr     // of the management library; 0: none

	staging staging

	mu        sync.Mutex // of all below
	overlap   bool
	packet    *packet
	images    func(module string, capability int) ([]image, error)
	note      func(string) // of what a person may want to know
	modules   map[string]uintptr
	functions map[*kernel.Kernel]uintptr
	capture   *capture // nil while launches run
}

var (
	_ cuda.Device     = (*Card)(nil)
	_ cuda.Overlapper = (*Card)(nil)
)

// Count returns the number of cards. The error says why there is none.
func Count() (int, error) {
	l, err := start()
	if err != nil {
		return 0, err
	}
	n, err := l.count()
	if err == nil && n == 0 {
		err = &NoCardError{Ordinal: -1}
	}
	return n, err
}

func (l *library) count() (int, error) {
	var n int32
	err := l.call("cuDeviceGetCount", l.deviceCount, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// Open takes a card, by its number among those that the driver shows this process.
func Open(ordinal int) (*Card, error) {
	l, err := start()
	if err != nil {
		return nil, err
	}
	return l.open(ordinal)
}

// open takes a card of a library.
func (l *library) open(ordinal int) (*Card, error) {
	switch n, err := l.count(); {
	case err != nil:
		return nil, err
	case ordinal < 0 || ordinal >= n:
		return nil, &NoCardError{Ordinal: ordinal, Count: n}
	}
	c := &Card{lib: l, packet: new(packet), images: images, note: func(s string) { fmt.Fprintln(os.Stderr, s) },
		modules: map[string]uintptr{}, functions: map[*kernel.Kernel]uintptr{}}
	var device int32
	err := l.call("cuDeviceGet", l.deviceGet, uintptr(unsafe.Pointer(&device)), uintptr(ordinal))
	if err != nil {
		return nil, err
	}
	c.device = uintptr(device)
	if err := c.describe(); err != nil {
		return nil, err
	}
	var context uintptr
	err = l.call(fmt.Sprintf("cuDevicePrimaryCtxRetain of card %d", ordinal), l.contextRetain,
		uintptr(unsafe.Pointer(&context)), c.device)
	if err != nil {
		return nil, err
	}
	c.context = context
	var stream uintptr
	const apart = 1 // from stream 0
	if err := c.call("cuStreamCreate", l.streamCreate, uintptr(unsafe.Pointer(&stream)), apart); err != nil {
		c.Close()
		return nil, err
	}
	c.stream = stream
	if err := c.staging.open(c); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.manage(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// describe asks what does not change.
func (c *Card) describe() error {
	l := c.lib
	name := make([]byte, 256)
	err := l.call("cuDeviceGetName", l.deviceName, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)),
		c.device)
	if err != nil {
		return err
	}
	c.limits.Name = cString(&name[0])
	var major, minor int
	for _, a := range []struct {
		at int
		to *int
	}{{attributeSMs, &c.limits.SMs}, {attributeMajor, &major}, {attributeMinor, &minor},
		{attributeShared, &c.shared}} {
		var v int32
		err = l.call("cuDeviceGetAttribute", l.deviceAttribute, uintptr(unsafe.Pointer(&v)), uintptr(a.at),
			c.device)
		if err != nil {
			return err
		}
		*a.to = int(v)
	}
	c.limits.Capability = 10*major + minor
	var version int32
	if err = l.call("cuDriverGetVersion", l.driverVersion, uintptr(unsafe.Pointer(&version))); err != nil {
		return err
	}
	c.release = fmt.Sprintf("CUDA %d.%d", version/1000, version%1000/10)
	return nil
}

// manage asks the management library, which was started meanwhile.
func (c *Card) manage() error {
	l := c.lib
	pci := make([]byte, 32)
	err := l.call("cuDeviceGetPCIBusId", l.devicePCI, uintptr(unsafe.Pointer(&pci[0])), uintptr(len(pci)),
		c.device)
	if err != nil {
		return err
	}
	m := l.managed()
	c.handle = m.device(cString(&pci[0]))
	if r := m.driver(); r != "" {
		c.release = r + ", " + c.release
	}
	return nil
}

// Close gives the card back. Nothing of it may be used afterwards.
func (c *Card) Close() error {
	c.staging.close(c)
	if c.stream != 0 {
		_ = c.call("cuStreamDestroy", c.lib.streamDestroy, c.stream)
	}
	return c.lib.call("cuDevicePrimaryCtxRelease", c.lib.contextRelease, c.device) // with all memory and modules
}

// Driver returns the driver's release and the newest CUDA that it knows.
func (c *Card) Driver() string { return c.release }

// Limits returns what the card has and what is free of it.
func (c *Card) Limits() cuda.Limits {
	l := c.limits
	free, total, _ := c.memory()
	l.Free, l.Memory = int(free), int(total)
	return l
}

// memory returns the bytes that are free and those in all.
func (c *Card) memory() (free, total int64, err error) {
	var f, t uint64
	err = c.call("cuMemGetInfo", c.lib.memoryInfo, uintptr(unsafe.Pointer(&f)), uintptr(unsafe.Pointer(&t)))
	return int64(f), int64(t), err
}

// Sync waits until all is done, and returns the error of whatever failed.
func (c *Card) Sync() error {
	return c.call("cuStreamSynchronize", c.lib.streamSynchronize, c.stream)
}

// call calls a function of the driver in the card's context, whatever thread this is.
//
//go:uintptrescapes
func (c *Card) call(name string, fn uintptr, args ...uintptr) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.lib.call("cuCtxSetCurrent", c.lib.contextSetCurrent, c.context); err != nil {
		return err
	}
	return c.lib.call(name, fn, args...)
}

// String returns the card's name and capability.
func (c *Card) String() string {
	l := &c.limits
	return fmt.Sprintf("%s (capability %d.%d, driver %s)", l.Name, l.Capability/10, l.Capability%10, c.release)
}
