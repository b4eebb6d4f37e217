//go:build noasm || !amd64

package kernel

func sumAsm([]float32) float32                                                               { noAsm(); return 0 }
func sumSquaresAsm([]float32, float32) float32                                               { noAsm(); return 0 }
func tripleDotAsm(_, _, _ []float32, _ float32) float32                                      { noAsm(); return 0 }
func normSlopeAsm(_, _, _, _, _ []float32, _ normStep)                                       { noAsm() }
func adamWAsm(_, _, _, _ []float32, _ *AdamWStep)                                            { noAsm() }
func spreadRowsAsm(_ []float32, _ int, _ []float32, _, _, _ int)                             { noAsm() }
func siluBackwardAsm(_, _ []float32, _ int, _ []float32, _ int, _, _ []float32, _, _, _ int) { noAsm() }
