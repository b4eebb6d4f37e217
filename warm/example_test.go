package warm_test

import (
	"fmt"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm"
)

// Two members of one initialisation become one checkpoint, three quarters of it the first.
func ExampleNewAverage() {
	m := embedded.New()
	one, two := open(m, "member-1"), open(m, "member-2")
	defer one.Close()
	defer two.Close()
	a, err := warm.NewAverage([]warm.Member{{Checkpoint: one, Weight: 3}, {Checkpoint: two, Weight: 1}}, warm.Options{})
	check(err)
	var x, y, mean [1]float32
	const name = "score.weight"
	check(one.ReadAt(x[:], name, 0))
	check(two.ReadAt(y[:], name, 0))
	check(a.ReadAt(mean[:], name, 0))
	fmt.Println(mean[0] == float32(0.75*float64(x[0])+0.25*float64(y[0])))
	// Output:
	// true
}

// The ensemble of members that are kept apart can be careful: what they disagree on is worth less.
func ExampleEnsemble_Reward() {
	careful, err := warm.ParseEnsemble("mean_minus_std", 0.5)
	check(err)
	for _, scores := range [][]float32{{2, 2, 2}, {5, 2, -1}} {
		reward, std, err := careful.Reward(scores)
		check(err)
		fmt.Printf("%.2f (standard deviation %.2f)\n", reward, std)
	}
	// Output:
	// 2.00 (standard deviation 0.00)
	// 0.78 (standard deviation 2.45)
}

func open(m *embedded.Model, name string) *loader.Checkpoint {
	c, err := m.Checkpoint(name)
	check(err)
	return c
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
