//go:build noasm || !amd64

package kernel

// mulTiles finds no tile: without assembly the only level is Generic.
func mulTiles(*operand, []float32, int, bool) bool { return false }

func int8Words() int { return 1 }

func keepsW(DType) bool { return false }

func hasColumns() bool { return false }

func (*leftSide) mulColumns([]float32, int, []uint32, int, int) {}

// matrix is empty: there is no matrix unit.
type matrix struct{}

func tileSteps(DType) int { return 1 }

func newMatrix() *matrix { return nil }
