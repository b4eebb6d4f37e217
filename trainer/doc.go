// Package trainer is the root of what produces and judges checkpoints: members of a weight average,
// the models they start from, and the figures that tell whether they are better. Its subpackages
// hold the code; the root holds this map and nothing else.
//
// What exists:
//
//   - bpe: byte-level tokenizers from text.
//   - data: reading preference pairs and crowd votes from JSON Lines.
//   - eval: pairwise accuracy with intervals, agreement of score vectors.
//   - lm: pretraining and fine-tuning of causal language models.
//   - loss: the Bradley–Terry loss and its gradient.
//   - optim: AdamW, clipping, schedules, the moving average of weights.
//   - rm: reward-model training, members that share their start, and their comparison.
//   - state: the saved state of a run and its metrics.
//
// What is meant to join them: reinforcement learning against a served model, and the experiments of
// the WARM paper. A package that this list does not name as existing may not be finished.
//
// The trainer may use the model, loader, warm and api packages; it never imports the server, whose
// rewards it asks for through the api client.
package trainer
