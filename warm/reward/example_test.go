package reward_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward"
)

// Two answers are scored by the weight average of two members, without a server.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "warm-reward-")
	must(err)
	defer os.RemoveAll(dir)
	runs := filepath.Join(dir, "runs")
	must(embedded.New().Extract(runs))

	d, err := reward.Open(context.Background(), reward.Config{Members: []reward.Member{
		{Dir: filepath.Join(runs, "member-1")}, {Dir: filepath.Join(runs, "member-2")},
	}}, 1)
	must(err)
	prompt := "How do I boil an egg?"
	var answers []reward.Encoded
	for _, answer := range []string{"Seven minutes in boiling water.", "Shut up."} {
		x, err := d.Encode(reward.Input{Prompt: &prompt, Response: answer}, reward.EncodeOptions{})
		must(err)
		answers = append(answers, x)
	}
	engine := model.NewEngine(1)
	defer engine.Close()
	rewards, err := d.Score(engine, d.Average(), answers)
	must(err)
	fmt.Println(len(d.Members()), "members, the better answer first:", rewards[0] > rewards[1])
	// Output:
	// 2 members, the better answer first: true
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
