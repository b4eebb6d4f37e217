//go:build noasm || !amd64

package kernel

// tilesAsm is never reached: without assembly the only level is Generic.
func tilesAsm([]float32, int, []float32, int, []float32, int, []float32, int, int, int, bool) {
	panic("kernel: no assembly in this build")
}
