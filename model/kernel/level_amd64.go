//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// detect reads what the processor has and the operating system saves.
func detect() features {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX2 && x.HasFMA:
		return features{level: AVX512, bf16: x.HasAVX512BF16, vnni: x.HasAVX512VNNI}
	case x.HasAVX2 && x.HasFMA:
		return features{level: AVX2}
	}
	return features{level: Generic}
}
