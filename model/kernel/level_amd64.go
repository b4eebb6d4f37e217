//go:build amd64 && !noasm

package kernel

import (
	"errors"

	"golang.org/x/sys/cpu"
)

// detect reads what the processor has and the operating system saves.
func detect() features {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX2 && x.HasFMA:
		f := features{level: AVX512, bf16: x.HasAVX512BF16, vnni: x.HasAVX512VNNI}
		if f.bf16 && f.vnni && hasTiles() == nil {
			f.level = AMX
		}
		return f
	case x.HasAVX2 && x.HasFMA:
		return features{level: AVX2}
	}
	return features{level: Generic}
}

// hasTiles says why this process has no matrix unit. The processor must have AVX.
func hasTiles() error {
	if x := &cpu.X86; !x.HasAMXTile || !x.HasAMXBF16 || !x.HasAMXInt8 {
		return errors.New("the processor has no tiles of bfloat16 and int8")
	}
	return askForTiles()
}
