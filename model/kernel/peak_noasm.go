//go:build noasm || !amd64

package kernel

import "runtime"

func peakLoop(DType) (loop func(int), ops float64) {
	return func(n int) { runtime.KeepAlive(peakGeneric(n)) }, 32
}

func readAll(x []byte) { runtime.KeepAlive(readGeneric(x)) }
