//go:build amd64 && !noasm

package kernel

import "runtime"

//go:generate go -C _asm run . -out .. -only peak

// peakLoop returns the loop to measure and its operations for each count.
func peakLoop(d DType) (loop func(int), ops float64) {
	switch {
	case active.level == AVX512 && d == BFloat16 && active.bf16:
		return peakBF16AVX512, 28 * 64
	case active.level == AVX512 && d == Int8 && active.vnni:
		return peakInt8AVX512, 28 * 128
	case active.level == AVX512:
		return peakF32AVX512, 28 * 32
	case active.level == AVX2:
		return peakF32AVX2, 12 * 16
	}
	return func(n int) { runtime.KeepAlive(peakGeneric(n)) }, 32
}

func readAll(x []byte) {
	if active.level >= AVX2 {
		readAVX2(&x[0], len(x))
		return
	}
	runtime.KeepAlive(readGeneric(x))
}
