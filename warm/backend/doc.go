// Package backend computes reward models on inference engines of others: SGLang, vLLM
// and text-embeddings-inference (TEI), which hold models that no device of this machine
// does. An [Engine] is a [model.Engine]: what loads and scores models is told of no other
// than that one.
//
// The engine's part is as small as can be. It is given the average as a checkpoint
// directory and sequences of token ids, and gives back the outputs of the score head at
// the last token. Averaging, templates, tokens, truncation, which token is scored, the
// head's bias and how its outputs become a reward stay here. A causal model's sequence is
// sent up to the token that is scored, since what is behind it does not matter, so that
// every rule for that token is that of all engines: the last. One that is read at the
// marks of its steps is sent once for each.
//
// TEI takes text and no token ids for a classifier. What is sent is text that its
// tokenizer makes these very ids of, which is checked with our own; a sequence of which
// there is no such text is refused.
//
// Loading has two halves. [Engine.Load] averages, writes the directory, whose name says
// what is in it, and computes what a few sequences should be scored as. [Engine.Activate]
// has the engine load it, and holds what the engine then says and computes against that.
// A batch counts only if the engine says, behind it, that it still serves these weights:
// one that was started anew, or given other weights by somebody else, is found out and
// not believed.
//
// Sources, read in July and November 2026: sglang 0.5.23 (srt/entrypoints/http_server.py,
// srt/model_executor/model_runner_components/weight_updater.py), vllm 0.32.0
// (entrypoints/pooling, entrypoints/rl/online, entrypoints/serve/dev,
// model_executor/model_loader/reload), text-embeddings-inference at 0d124dc (router/src,
// backends/candle/src).
package backend
