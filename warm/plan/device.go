package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Device is what computes, as it was measured or is assumed.
type Device struct {
	Name   string
	Unit   string  // of which a plan counts: card or core
	Peak   float64 // FLOP/s in the number format, at the clock that it keeps under load
	Weight float64 // bytes of a weight
	// Shares are the parts of the peak that a server reached under load, by the parameters
	// of the model. Between two the share goes by the logarithm, beyond them it is the nearer.
	Shares []Measured
	Memory float64 // bytes for weights and activations; 0 is the machine's, which is not known
	Read   float64 // bytes of weights a second, as the smallest batch reads them
	Basis  string  // where this comes from
}

// Measured is a share of the peak that was measured for a model of so many parameters.
type Measured struct{ Parameters, Share float64 }

// The figures are those of docs/benchmarks.md and docs/performance.md: on cards over HTTP,
// on processors of the engine, of which serving left 97.9 %.
const served = 0.979

var h200 = Device{Name: "h200", Unit: "card", Peak: 816e12, Weight: 2, Memory: 147e9, Read: 2.3e12,
	Shares: []Measured{{0.6e9, 0.597}, {7.5e9, 0.787}},
	Basis:  "measured on an H200 over HTTP, bfloat16 (docs/benchmarks.md); peak of 132 SMs at 1.51 GHz"}

var devices = []Device{
	h200,
	{Name: "h100", Unit: "card", Peak: h200.Peak, Weight: 2, Memory: 78e9, Read: h200.Read * 3.35 / 4.8, Shares: h200.Shares,
		Basis: "not measured: the H200's peak and shares, as the H100 SXM has the same 132 SMs, with 80 GB at 3.35 TB/s"},
	{Name: "zen5-f32", Unit: "core", Peak: 245e9, Weight: 4, Read: 10e9,
		Shares: []Measured{{0.11e9, 0.90 * served}, {0.6e9, 0.897 * served}}, Basis: cores},
	{Name: "zen5-bf16", Unit: "core", Peak: 490e9, Weight: 2, Read: 10e9,
		Shares: []Measured{{0.11e9, 0.834 * served}, {0.6e9, 0.846 * served}}, Basis: cores},
	{Name: "zen5-int8", Unit: "core", Peak: 965e9, Weight: 1, Read: 10e9,
		Shares: []Measured{{0.11e9, 0.693 * served}, {0.6e9, 0.769 * served}}, Basis: cores},
	{Name: "amx-bf16", Unit: "core", Peak: 2772e9, Weight: 2, Read: 10e9,
		Shares: []Measured{{0.11e9, 0.104 * served}},
		Basis:  "measured once on 2 threads of an Intel Xeon with AMX, on the decoder 12×768 (docs/performance.md)"},
}

const cores = "measured on 2 cores of an AMD EPYC (Zen 5), Qwen3-0.6B and the decoder 12×768 (docs/performance.md); weights read at an assumed 10 GB/s a core"

// Devices returns the names of the devices that are known.
func Devices() []string {
	var names []string
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}

// DeviceNamed returns the device of a name.
func DeviceNamed(name string) (Device, error) {
	at := slices.IndexFunc(devices, func(d Device) bool { return d.Name == name })
	if at < 0 {
		return Device{}, fmt.Errorf("device %q is none that was measured: want %s", name, strings.Join(Devices(), ", "))
	}
	return devices[at], nil
}

// Share is the part of the peak for a model of so many parameters.
func (d *Device) Share(parameters float64) float64 {
	at, found := slices.BinarySearchFunc(d.Shares, parameters, func(m Measured, p float64) int { return cmp.Compare(m.Parameters, p) })
	switch {
	case found || at == 0:
		return d.Shares[at].Share
	case at == len(d.Shares):
		return d.Shares[at-1].Share
	}
	a, b := d.Shares[at-1], d.Shares[at]
	x := math.Log(parameters/a.Parameters) / math.Log(b.Parameters/a.Parameters)
	return a.Share + x*(b.Share-a.Share)
}
