package cpu

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
)

// CrossEntropy computes −log softmax(logits)[target] of one row and replaces the
// logits by its gradient times scale: softmax(logits) − onehot(target). The loss
// is in natural units; a target that softmax gives no weight at all in float32
// counts as one of the smallest.
//
// Shapes: logits is (V).
func CrossEntropy(logits []float32, target int32, scale float32) float64 {
	top, own := logits[0], logits[target]
	for _, v := range logits {
		if v > top { // several times faster than max, which treats NaN and signed zeros apart
			top = v
		}
	}
	kernel.Softmax(logits, 0, len(logits), 1)
	// The largest weight is 1/Σ exp(x − top), which gives the sum without another pass.
	most := float32(0)
	for i, p := range logits {
		if p > most { // never for NaN: the loss is then infinite, and the step refused
			most = p
		}
		logits[i] = p * scale
	}
	logits[target] -= scale
	return float64(top-own) - math.Log(float64(most))
}
