package serve_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/serve"
)

// A program serves the weight average of checkpoints, and asks it.
func ExampleNew() {
	dir := checkpoints()
	defer os.RemoveAll(dir)
	spec := &api.ModelSpec{Members: []api.MemberSpec{
		{Path: filepath.Join(dir, "runs", "member-1")},
		{Path: filepath.Join(dir, "runs", "member-2")},
	}}
	s, err := serve.New(serve.Config{
		Models: map[string]*api.ModelSpec{"helpful": spec},
		Server: server.Config{Logger: slog.New(slog.DiscardHandler)},
	})
	check(err)
	defer s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, ln) }()

	client, err := api.NewClient("http://"+ln.Addr().String(), api.WithRetry(api.Retry{})) // until it is loaded
	check(err)
	reply, err := client.Reward(ctx, &api.RewardRequest{Inputs: []api.Input{api.Answers("How do I boil an egg?", "Seven minutes in boiling water.", "Shut up.")}})
	check(err)
	fmt.Println(reply.Model, reply.Data[0].Reward > reply.Data[1].Reward)
	stop()
	fmt.Println(<-ended)
	// Output:
	// helpful true
	// <nil>
}

// checkpoints returns a folder of checkpoints: of the model that is part of warm.
func checkpoints() string {
	dir, err := os.MkdirTemp("", "warm-serve-")
	check(err)
	check(embedded.New().Extract(filepath.Join(dir, "runs")))
	return dir
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
