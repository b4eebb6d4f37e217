package eval_test

import (
	"fmt"

	"github.com/warmserve/warmserve/eval"
)

// The accuracy of a reward model on preference pairs, with its interval. A tie is a loss.
func ExampleCompare() {
	a, err := eval.Compare([]float64{2.0, 1.5, 0.3, 0.7}, []float64{0.5, 1.0, 0.9, 0.7})
	if err != nil {
		panic(err)
	}
	e := a.Strict()
	fmt.Printf("%d of %d, %d tie: %.2f [%.2f, %.2f]\n", a.Wins, a.Pairs, a.Ties, e.Value, e.Low, e.High)
	// Output:
	// 2 of 4, 1 tie: 0.50 [0.15, 0.85]
}
