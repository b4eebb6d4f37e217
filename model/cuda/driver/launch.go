package driver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// Kinds of attributes of a launch.
const (
	launchCluster = 4
	launchEarly   = 6
)

// maxArguments is the room for a kernel's parameters, bytes.
const maxArguments = 4096

// launchConfig is CUlaunchConfig.
type launchConfig struct {
	grid, block [3]uint32
	shared      uint32
	stream      uintptr
	attributes  *launchAttribute
	count       uint32
}

// launchAttribute is CUlaunchAttribute.
type launchAttribute struct {
	id    uint32
	_     uint32
	value [64]byte
}

// packet is the memory of one launch, which the driver reads during the call. It lies in
// the heap, where it does not move.
type packet struct {
	config     launchConfig
	attributes [2]launchAttribute
	arguments  [maxArguments]byte
	parameters [1]*byte
}

// Overlap implements [cuda.Overlapper].
func (c *Card) Overlap(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.overlap = on
}

// Launch starts a kernel of grid blocks behind what was launched before. arguments are the
// bytes of its one parameter, a struct.
func (c *Card) Launch(k *kernel.Kernel, grid int, arguments []byte) error {
	switch {
	case len(arguments) > maxArguments:
		return fmt.Errorf("cuda: %s: %d bytes of parameters, the most are %d", k.Name, len(arguments), maxArguments)
	case grid <= 0 || grid%max(k.Cluster, 1) != 0:
		return fmt.Errorf("cuda: %s: a grid of %d blocks in clusters of %d", k.Name, grid, k.Cluster)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.functions[k]
	if !ok && c.capture != nil {
		c.capture.missing = append(c.capture.missing, k)
		return nil
	}
	if !ok {
		var err error
		if f, err = c.load(k); err != nil {
			return err
		}
	}
	p := c.packet
	copy(p.arguments[:], arguments)
	p.parameters[0] = &p.arguments[0]
	parameters := uintptr(unsafe.Pointer(&p.parameters[0]))
	early := c.overlap && k.Follows
	if k.Cluster <= 1 && !early { // what drivers of any age have
		return c.call("cuLaunchKernel of "+k.Name, c.lib.launch, f, uintptr(grid), 1, 1, uintptr(k.Threads), 1, 1,
			uintptr(k.Shared), c.stream, parameters, 0)
	}
	n := 0
	if k.Cluster > 1 {
		p.attributes[n] = launchAttribute{id: launchCluster}
		for i, v := range []uint32{uint32(k.Cluster), 1, 1} {
			binary.LittleEndian.PutUint32(p.attributes[n].value[4*i:], v)
		}
		n++
	}
	if early {
		p.attributes[n] = launchAttribute{id: launchEarly}
		p.attributes[n].value[0] = 1
		n++
	}
	p.config = launchConfig{grid: [3]uint32{uint32(grid), 1, 1}, block: [3]uint32{uint32(k.Threads), 1, 1},
		shared: uint32(k.Shared), stream: c.stream, attributes: &p.attributes[0], count: uint32(n)}
	return c.call("cuLaunchKernelEx of "+k.Name, c.lib.launchEx, uintptr(unsafe.Pointer(&p.config)), f,
		parameters, 0)
}

// image is the code of a module: machine code, or the text of PTX.
type image struct {
	code []byte
	text bool
}

// textVariable names the environment variable that makes the driver compile PTX where there is
// machine code, too.
const textVariable = "WARM_CUDA_PTX"

// images returns the code of a module for a capability: machine code where the binary has it, and PTX
// for drivers that do not take that.
func images(module string, capability int) (of []image, err error) {
	if code, ok := kernel.Cubin(module, capability); ok && os.Getenv(textVariable) == "" {
		of = append(of, image{code: code})
	}
	text, err := kernel.PTX(module)
	return append(of, image{text, true}), err
}

// Load makes kernels ready to be launched. [Card.Launch] does it for those that are not.
func (c *Card) Load(kernels ...*kernel.Kernel) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range kernels {
		if _, ok := c.functions[k]; !ok {
			if _, err := c.load(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// load finds a kernel's entry. c.mu is held.
func (c *Card) load(k *kernel.Kernel) (uintptr, error) {
	if k.Shared > c.shared {
		return 0, &KernelError{Module: k.Module, Card: c.String(),
			Reason: fmt.Sprintf("%s needs %d bytes of shared memory, a block can have %d", k.Name, k.Shared, c.shared)}
	}
	m, ok := c.modules[k.Module]
	if !ok {
		var err error
		if m, err = c.loadModule(k.Module); err != nil {
			return 0, err
		}
		c.modules[k.Module] = m
	}
	name := append([]byte(k.Name), 0)
	var f uintptr
	if err := c.call("cuModuleGetFunction of "+k.Name, c.lib.moduleFunction,
		uintptr(unsafe.Pointer(&f)), m, uintptr(unsafe.Pointer(&name[0]))); err != nil {
		return 0, err
	}
	if k.Shared > 0 {
		err := c.call("cuFuncSetAttribute of "+k.Name, c.lib.functionSet, f, functionShared, uintptr(k.Shared))
		if err != nil {
			return 0, err
		}
	}
	c.functions[k] = f
	return f, nil
}

// Options of cuModuleLoadDataEx.
const (
	optionErrors     = 5
	optionErrorsSize = 6
)

// loadModule gives the driver a module, as machine code where that is there and taken. c.mu is held.
func (c *Card) loadModule(module string) (m uintptr, err error) {
	images, err := c.images(module, c.limits.Capability)
	if err != nil {
		return 0, &KernelError{Module: module, Card: c.String(), Reason: "this build does not have them", Err: err}
	}
	for i, x := range images {
		var e *Error
		m, err = c.loadImage(module, x)
		if err == nil || i == len(images)-1 || !errors.As(err, &e) || e.Code == outOfMemory || Lost(err) {
			break
		}
		c.note(fmt.Sprintf("%s does not take the machine code of kernels %s (%s) and compiles them", c,
			module, e.Name))
	}
	return m, err
}

// loadImage gives the driver code, which compiles it when it is PTX. c.mu is held.
func (c *Card) loadImage(module string, x image) (uintptr, error) {
	image := x.code
	if x.text { // which ends with a zero
		image = append(image[:len(image):len(image)], 0)
	}
	log := make([]byte, 16<<10)
	options := [2]uint32{optionErrors, optionErrorsSize}
	values := [2]uintptr{0, uintptr(len(log))}
	*(**byte)(unsafe.Pointer(&values[0])) = &log[0]
	held := &log[0] // values hides the pointer
	var m uintptr
	err := c.call("cuModuleLoadDataEx", c.lib.moduleLoad, uintptr(unsafe.Pointer(&m)),
		uintptr(unsafe.Pointer(&image[0])), uintptr(len(options)), uintptr(unsafe.Pointer(&options[0])),
		uintptr(unsafe.Pointer(&values[0])))
	var e *Error
	if errors.As(err, &e) {
		return 0, c.refused(module, image, e, cString(held))
	}
	return m, err
}

// refused says why the driver did not take a module.
func (c *Card) refused(module string, image []byte, e *Error, log string) error {
	k := &KernelError{Module: module, Card: c.String(), Err: e}
	version, target := directive(image, ".version"), directive(image, ".target")
	switch e.Code {
	case unsupportedPTX:
		k.Reason = fmt.Sprintf("the driver is too old for PTX %s; install a newer one", version)
	case noBinary, invalidPTX:
		k.Reason = fmt.Sprintf("PTX %s for %s is not for this card, or the driver is too old for it; "+
			"install a newer one", version, target)
	case noCompiler:
		k.Reason = "the driver's compiler, libnvidia-ptxjitcompiler.so.1, is missing; install the whole driver"
	case outOfMemory:
		m := &MemoryError{Err: e, Asked: int64(len(image))}
		m.Free, m.Total, _ = c.memory()
		return m
	default:
		return fmt.Errorf("kernels %s: %w", module, e)
	}
	if log = strings.TrimSpace(log); log != "" {
		first, _, _ := strings.Cut(log, "\n")
		k.Reason += " (" + first + ")"
	}
	return k
}

// directive returns the value of one of PTX's, "?" when there is none.
func directive(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == name {
			return string(f[1])
		}
	}
	return "?"
}

// Use is what the compiler made of a kernel.
type Use struct {
	Registers int // of a thread
	Local     int // bytes of a thread that did not fit into registers
}

// Use loads a kernel and returns what it takes.
func (c *Card) Use(k *kernel.Kernel) (Use, error) {
	if err := c.Load(k); err != nil {
		return Use{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var u Use
	for _, a := range []struct {
		at int
		to *int
	}{{functionRegister, &u.Registers}, {functionLocal, &u.Local}} {
		var v int32
		err := c.call("cuFuncGetAttribute of "+k.Name, c.lib.functionGet, uintptr(unsafe.Pointer(&v)),
			uintptr(a.at), c.functions[k])
		if err != nil {
			return u, err
		}
		*a.to = int(v)
	}
	return u, nil
}
