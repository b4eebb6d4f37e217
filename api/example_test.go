package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/warmserve/warmserve/api"
)

// A client asks for the rewards of two answers to one prompt. Here a stand-in answers as a server would.
func ExampleClient_Reward() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"id": "rwd-1", "object": "reward.list", "model": "helpful", "mode": "wa", "data": [
			{"index": 0, "input": 0, "answer": 0, "reward": 1.5, "tokens": 12},
			{"index": 1, "input": 0, "answer": 1, "reward": -0.25, "tokens": 9}]}`)
	}))
	defer server.Close()

	client, err := api.NewClient(server.URL, api.WithRetry(api.Retry{}))
	if err != nil {
		panic(err)
	}
	reply, err := client.Reward(context.Background(), &api.RewardRequest{
		Inputs: []api.Input{api.Answers("How do I boil an egg?", "Seven minutes in boiling water.", "Shut up.")},
	})
	if err != nil {
		panic(err)
	}
	for _, r := range reply.Data {
		fmt.Println(r.Answer, r.Reward)
	}
	// Output:
	// 0 1.5
	// 1 -0.25
}
