// Package dialect translates other stacks' reward protocols to the native
// request and back: OpenRLHF, vLLM (and with it verl), SGLang,
// text-embeddings-inference (TEI), slime, NeMo Gym and the Open Inference
// Protocol v2. It knows their JSON, their quirks and their error bodies. It
// does not know HTTP, models or the queue: package server owns those and calls
//
//	for _, route := range dialect.Routes(dialect.Config{}) {
//		call, err := route.Decode(body, dialect.Target{Query: url.Query()})
//		// score call.Request, reading its inputs as call.Reading says
//		reply, err := call.Reply(result)
//	}
//
// Each dialect is a file. A body is read leniently: fields that are not ours to
// know are left out, as the protocols' own servers do; what we read has to be
// right. Every dialect takes the query parameters model, mode, aggregate and
// lambda, because most of their clients can be given nothing but a URL.
//
// Rewards are raw logits, also where a protocol's own server answers a sigmoid
// of them unless told otherwise (vLLM): a sigmoid in float32 is 1 from 17 on,
// and advantages of saturated rewards are 0. TEI's routes alone keep its sigmoid,
// because their clients expect probabilities.
//
// A text over the context is truncated as the native route does unless a
// dialect's own field says otherwise: no answer is too long to be scored.
//
// Sources: the protocols' own code (openrlhf/utils/agent.py and cli/serve_rm.py;
// vllm/entrypoints/pooling; verl/experimental/reward_loop; sglang's
// http_server.py; TEI's router/src/http; slime/rollout/rm_hub;
// nemo_gym/base_resources_server.py; the Open Inference Protocol's document).
package dialect
