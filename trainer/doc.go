// Package trainer is the root of what produces and judges checkpoints: members of a weight average,
// the models they start from, and the figures that tell whether they are better. Its subpackages
// hold the code; the root holds this map and nothing else.
//
//   - bpe: byte-level tokenizers from text.
//   - data: reading preference pairs, prompts and crowd votes.
//   - judge: how good reward models are, alone, averaged and as an ensemble.
//   - lab: the experiments of the WARM paper, a package for each question.
//   - lm: pretraining and fine-tuning of causal language models.
//   - loss: the Bradley–Terry loss and its gradient.
//   - optim: AdamW and Adafactor, clipping, schedules, the moving average of weights.
//   - rl: policies that learn from rewards, of a served model or one at hand.
//   - rm: reward-model training, and members that share their start.
//   - state: the way of every run over interruptions, its saved state and its metrics.
//
// The trainer may use the eval, model, loader, warm and api packages; it never imports the server,
// whose rewards it asks for through the api client.
package trainer
