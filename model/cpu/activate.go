package cpu

import (
	"fmt"
	"math"

	"github.com/warmserve/warmserve/model/nn"
)

// The constants of SELU, and the slope of LeakyReLU below 0 (PyTorch's default).
const (
	seluScale = 1.0507009873554804934193349852946
	seluAlpha = 1.6732632423543772848170429916717
	leak      = 0.01
)

// activate applies the function of an operation of kind Activate in place.
func activate(x []float32, act nn.Activation) {
	switch act {
	case nn.LeakyReLU:
		for i, v := range x {
			if v < 0 {
				x[i] = leak * v
			}
		}
	case nn.SELU:
		for i, v := range x {
			if v > 0 {
				x[i] = seluScale * v
			} else {
				x[i] = float32(seluScale * seluAlpha * math.Expm1(float64(v)))
			}
		}
	default:
		panic(fmt.Sprintf("cpu: no function for the activation %d", act))
	}
}

// activateBackward multiplies dy by the function's slope, which its result y tells.
func activateBackward(dy, y []float32, act nn.Activation) {
	for i, v := range y {
		switch {
		case act == nn.LeakyReLU && v < 0:
			dy[i] *= leak
		case act == nn.SELU && v > 0:
			dy[i] *= seluScale
		case act == nn.SELU:
			dy[i] *= v + seluScale*seluAlpha
		}
	}
}
