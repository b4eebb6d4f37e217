//go:build noasm || !amd64

package kernel

func timesAsm([]float32, int, []float32, int, []float32, int, int, int)           { noAsm() }
func slopeAsm([]float32, int, []float32, int, []float32, int, int, int, Epilogue) { noAsm() }
