// Package api is the wire of warmserve: the JSON of its native routes, the
// error codes with their HTTP statuses, the limits on fields, and a client.
// It knows nothing of models, queues or servers, so that a program which
// wants rewards imports this package alone.
//
//	client, err := api.NewClient("http://127.0.0.1:8080")
//	reply, err := client.Reward(ctx, &api.RewardRequest{
//		Inputs: []api.Input{api.Answers("What is the capital of France?", "Paris.", "Lyon.")},
//	})
//
// The types here follow openapi.yaml at the root of the repository, which
// [OpenAPI] returns; the tests hold the two together.
//
// Reading is strict ([DecodeRewardRequest]): one JSON value, no unknown or
// repeated field, no invalid UTF-8, bounded nesting. Every complaint is an
// *[Error] whose Param says where.
//
// JSON is read and written with github.com/go-json-experiment/json, the
// upstream of Go's encoding/json/v2: encoding/json matches names whatever
// their case, keeps the last of repeated names and replaces invalid UTF-8, all
// in silence, and a reward for text that nobody sent is worse than an error.
package api
