package server_test

import (
	"context"
	"fmt"
	"net"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
)

// prepare makes a token of each byte of an answer, behind one that begins it.
func prepare(in *api.Input, _ live.PrepareOptions) ([]live.Prepared, error) {
	if in.Responses == nil {
		return nil, api.Errorf(api.CodeUnsupportedInput, "", "want a prompt and responses")
	}
	out := make([]live.Prepared, len(in.Responses))
	for i, answer := range in.Responses {
		out[i].Sequence.IDs = make([]int32, 1+len(answer))
	}
	return out, nil
}

// score rewards short answers.
func score(dst []float32, answers []batch.Sequence) error {
	for i, a := range answers {
		dst[i] = -float32(len(a.IDs))
	}
	return nil
}

// A program serves a model of its own, and asks it.
func ExampleServer() {
	models := live.NewModels()
	info := live.Info{Model: api.Model{ID: "brevity", Revision: "1", ContextLength: 4096}}
	_, err := models.Swap(live.NewModel(info, prepare, score))
	check(err)
	s, err := server.New(server.Config{}, models)
	check(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, ln) }()

	client, err := api.NewClient("http://" + ln.Addr().String())
	check(err)
	reply, err := client.Reward(ctx, &api.RewardRequest{Inputs: []api.Input{api.Answers("Is it raining?", "No.", "I should say it is not.")}})
	check(err)
	for _, r := range reply.Data {
		fmt.Println(reply.Model, r.Answer, r.Reward)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// brevity 0 -4
	// brevity 1 -24
	// <nil>
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
