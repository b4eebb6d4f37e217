//go:build noasm || !amd64

package kernel

// mulTiles finds no tile: without assembly the only level is Generic.
func mulTiles(*operand, []float32, int, bool) bool { return false }

func wideSteps(DType) bool { return false }
