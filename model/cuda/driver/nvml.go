package driver

import (
	"bytes"
	"unsafe"
)

// management is libnvidia-ml.so.1, which tells what a card is doing. Everything
// works without it.
type management struct {
	init, handle, clock, power, temperature, version uintptr
}

// What nvmlDeviceGetClockInfo and nvmlDeviceGetTemperature are asked for.
const (
	clockSM       = 1
	clockMemory   = 2
	sensorOnChip  = 0
	versionLength = 80
)

// bind finds the functions, and reports whether all are there.
func (m *management) bind(find func(name string) (uintptr, error)) bool {
	for _, s := range []symbol{
		{"nvmlInit_v2", &m.init, false}, {"nvmlDeviceGetHandleByPciBusId_v2", &m.handle, false},
		{"nvmlDeviceGetClockInfo", &m.clock, false}, {"nvmlDeviceGetPowerUsage", &m.power, false},
		{"nvmlDeviceGetTemperature", &m.temperature, false}, {"nvmlSystemGetDriverVersion", &m.version, false},
	} {
		p, err := find(s.name)
		if err != nil || p == 0 {
			return false
		}
		*s.at = p
	}
	return true
}

// device returns the library's handle of a card, 0 when it knows none.
func (m *management) device(pci string) uintptr {
	if m == nil || pci == "" {
		return 0
	}
	name := append([]byte(pci), 0)
	var h uintptr
	if invoke(m.handle, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&h))) != 0 {
		return 0
	}
	return h
}

// driver returns the driver's release, such as 580.159.04, or "".
func (m *management) driver() string {
	if m == nil {
		return ""
	}
	text := make([]byte, versionLength)
	if invoke(m.version, uintptr(unsafe.Pointer(&text[0])), versionLength) != 0 {
		return ""
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text)
}

// number asks for one value of a device; what it does not tell is 0.
func (m *management) number(fn, device uintptr, which ...uintptr) int {
	var v uint32
	failed := int32(0)
	if len(which) > 0 {
		failed = invoke(fn, device, which[0], uintptr(unsafe.Pointer(&v)))
	} else {
		failed = invoke(fn, device, uintptr(unsafe.Pointer(&v)))
	}
	if failed != 0 {
		return 0
	}
	return int(v)
}

// Stats is what a card is doing. What its driver does not tell is 0.
type Stats struct {
	Free, Total int64   // memory, bytes
	SM, Memory  int     // clocks, MHz
	Power       float64 // W
	Temperature int     // °C
}

// Stats asks the card. It does not wait for what the card is computing.
func (c *Card) Stats() (Stats, error) {
	free, total, err := c.memory()
	s := Stats{Free: free, Total: total}
	if c.handle != 0 {
		m := c.lib.managed()
		s.SM, s.Memory = m.number(m.clock, c.handle, clockSM), m.number(m.clock, c.handle, clockMemory)
		s.Power = float64(m.number(m.power, c.handle)) / 1000
		s.Temperature = m.number(m.temperature, c.handle, sensorOnChip)
	}
	return s, err
}
