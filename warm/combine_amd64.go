//go:build amd64 && !noasm

package warm

//go:generate go -C _asm run combine.go -out ../combine_amd64.s

import "golang.org/x/sys/cpu"

// vectorLevel is a loop in assembly and the number of elements that it takes at a time.
type vectorLevel struct {
	name string
	step int
	run  func(dst *float32, columns *[]float32, coefs *float64, members int, n int, divisor float64)
	ok   bool // this machine has the instructions
}

// vectorLevels are the loops, best first.
var vectorLevels = []vectorLevel{
	{"AVX-512", 32, combineAVX512, cpu.X86.HasAVX512F},
	{"AVX2", 16, combineAVX2, cpu.X86.HasAVX2},
}

// combineVector computes as many elements as fit into whole steps of the best loop, and returns how many.
func combineVector(dst []float32, columns [][]float32, coefs []float64, divisor float64) int {
	for i := range vectorLevels {
		if vectorLevels[i].ok {
			return vectorLevels[i].combine(dst, columns, coefs, divisor)
		}
	}
	return 0
}

func (l *vectorLevel) combine(dst []float32, columns [][]float32, coefs []float64, divisor float64) int {
	n := len(dst) / l.step * l.step
	if n > 0 {
		l.run(&dst[0], &columns[0], &coefs[0], len(columns), n, divisor)
	}
	return n
}

//go:noescape
func combineAVX512(dst *float32, columns *[]float32, coefs *float64, members int, n int, divisor float64)

//go:noescape
func combineAVX2(dst *float32, columns *[]float32, coefs *float64, members int, n int, divisor float64)
