//go:build noasm || !amd64

package kernel

// mulAsm finds no kernel: without assembly the only level is Generic.
func mulAsm(*operand, []float32, int, bool) bool { return false }

func wideSteps(DType) bool { return false }
