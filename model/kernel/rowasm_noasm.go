//go:build noasm || !amd64

package kernel

// None of these is ever reached: without assembly the only level is Generic.

func noAsm() { panic("kernel: no assembly in this build") }

func rmsNormAsm([]float32, int, []float32, int, int, []float32, float32)              { noAsm() }
func layerNormAsm([]float32, int, []float32, int, int, []float32, []float32, float32) { noAsm() }
func softmaxAsm([]float32, int, int, int, Span, float32)                              { noAsm() }
func rotateAsm([]float32, int, int, int, int, []float32, []float32, int, int)         { noAsm() }
func addToAsm([]float32, []float32)                                                   { noAsm() }
func addScaledAsm([]float32, float32, []float32)                                      { noAsm() }
func roundBF16Asm([]uint16, []float32)                                                { noAsm() }
func widenBF16Asm([]float32, []uint16)                                                { noAsm() }
func activateAsm([]float32, int, int, int, Epilogue)                                  { noAsm() }
func gateAsm([]float32, int, []float32, int, []float32, int, int, int, Epilogue)      { noAsm() }
func softCapAsm([]float32, int, int, int, float32)                                    { noAsm() }
func dotAsm([]float32, []float32) float32                                             { noAsm(); return 0 }
