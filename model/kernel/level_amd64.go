//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/cpu"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// detect reads what the processor has and the operating system saves.
func detect() features {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX2 && x.HasFMA:
		f := features{level: AVX512, bf16: x.HasAVX512BF16, vnni: x.HasAVX512VNNI, avxVNNI: x.HasAVXVNNI,
			pairs: vendor() == intel}
		if f.bf16 && vendor() != intel {
			f.level = AVX512BF16
		}
		if f.bf16 && f.vnni && hasTiles() == nil {
			f.level = AMXFloat32
		}
		return f
	case x.HasAVX2 && x.HasFMA:
		return features{level: AVX2, avxVNNI: x.HasAVXVNNI}
	}
	return features{level: Generic}
}

// intel is the maker whose processors issue VDPBF16PS, 64 operations, once in two cycles,
// from Cooper Lake to Granite Rapids, and two float32 multiply-adds of 32 operations in
// each: a product in bfloat16 took 1.5 to 1.8 times as long as in float32. Others issue it
// as often as a multiply-add. The maker decides rather than a measurement or a list of
// models, because it is the same at every start and no hypervisor hides it.
const intel = "GenuineIntel"

// vendor returns the maker's name.
func vendor() string {
	_, b, c, d := amd64.CPUID(0, 0)
	var name []byte
	for _, r := range []uint32{b, d, c} {
		name = binary.LittleEndian.AppendUint32(name, r)
	}
	return string(name)
}

// hasTiles says why this process has no matrix unit. The processor must have AVX.
func hasTiles() error {
	if x := &cpu.X86; !x.HasAMXTile || !x.HasAMXBF16 || !x.HasAMXInt8 {
		return errors.New("the processor has no tiles of bfloat16 and int8")
	}
	return askForTiles()
}
