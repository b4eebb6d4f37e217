package rl

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lm"
)

// Answer is what a policy said.
type Answer struct {
	Prompt   int     // which it answers, by number
	Text     string  // without special tokens
	IDs      []int32 // the end token included, when there is one
	LogProbs []float64
	Ended    bool // by an end token, not by its length

	// KL is the sum over the tokens of log π − log π_ref, in nats: of [Sample] with a reference.
	KL float64
	// Reward and Control are set in training.
	Reward, Control float64
}

// LogProb is the log-probability of the whole answer.
func (a *Answer) LogProb() float64 {
	sum := 0.0
	for _, v := range a.LogProbs {
		sum += v
	}
	return sum
}

// Sample draws answers to plain prompts with the language model of a directory:
// Sampling.N to each, one prompt's behind the other's.
func Sample(ctx context.Context, dir string, prompts []string, s Sampling) ([]Answer, error) {
	w, err := OpenSampler(dir, s.Reference, s.Workers)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return w.Sample(ctx, prompts, s)
}

// Sampler is a policy that answers, opened once for several calls.
type Sampler struct {
	dir       string
	writer    *writer
	reference *model.Decoder // nil without one
}

// OpenSampler opens the language model of a directory and the reference that [Answer].KL refers to,
// "" for none. Close it after use.
func OpenSampler(dir, reference string, workers int) (*Sampler, error) {
	v, err := openWriter(dir, workers)
	if err != nil {
		return nil, err
	}
	w := &Sampler{dir: dir, writer: v}
	if reference == "" {
		return w, nil
	}
	if w.reference, _, err = openReference(reference, nil, v.policy, workers); err != nil {
		v.close()
		return nil, err
	}
	return w, nil
}

// Close lets the models go.
func (w *Sampler) Close() {
	w.writer.close()
	if w.reference != nil {
		w.reference.Close()
	}
}

// Sample is as [Sample], with the models that are open in the place of those that s names.
func (w *Sampler) Sample(ctx context.Context, prompts []string, s Sampling) ([]Answer, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s = s.withDefaults()
	asked, err := w.writer.ask(prompts, s.Tokens)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.dir, err)
	}
	out, err := w.writer.sample(ctx, asked, s)
	if err != nil || w.reference == nil {
		return out, err
	}
	_, kls, err := diverge(ctx, w.reference, asked, out, s.temperature())
	for i, v := range kls {
		out[i].KL = v
	}
	return out, err
}

// openWriter opens the language model of a directory. Close it after use.
func openWriter(dir string, workers int) (*writer, error) {
	p, err := lm.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	d, err := model.NewDecoder(p.Config, p.Source, p.Tied, workers)
	if err != nil {
		p.Close() // read-only: nothing can be lost
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return &writer{policy: p, decoder: d}, nil
}

func (v *writer) close() {
	v.decoder.Close()
	v.policy.Close() // read-only: nothing can be lost
}

// ask reads plain prompts, whose answers have so many tokens at most.
func (v *writer) ask(prompts []string, tokens int) ([]question, error) {
	asked := make([]question, len(prompts))
	for i, text := range prompts {
		var err error
		if asked[i], err = v.read(data.Text{Plain: text}); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
		asked[i].key = uint64(i)
		if n, most := len(asked[i].ids)+tokens-1, v.policy.Config.MaxPositions; n > most {
			return nil, fmt.Errorf("prompt %d: %d tokens with the answer, the context of the policy is %d", i, n, most)
		}
	}
	return asked, nil
}

// openReference opens the model of a directory that a policy's KL refers to, and returns its
// hash too.
func openReference(dir string, open func(string) (*loader.Checkpoint, error), policy *lm.Policy,
	workers int) (*model.Decoder, string, error) {
	ref, err := lm.Open(dir, open)
	if err != nil {
		return nil, "", err
	}
	defer ref.Close() // read-only: nothing can be lost
	if ref.Config.VocabSize != policy.Config.VocabSize || ref.Config.MaxPositions < policy.Config.MaxPositions {
		return nil, "", fmt.Errorf("%s: a vocabulary of %d and a context of %d, those of the policy are %d and %d", dir,
			ref.Config.VocabSize, ref.Config.MaxPositions, policy.Config.VocabSize, policy.Config.MaxPositions)
	}
	d, err := model.NewDecoder(ref.Config, ref.Source, ref.Tied, workers)
	return d, ref.Hash, err
}

// diverge returns the reference's log-probabilities of the answers' tokens, and each answer's
// KL from it.
func diverge(ctx context.Context, reference *model.Decoder, asked []question, answers []Answer,
	temperature float32) (logps [][]float64, kls []float64, err error) {
	prompts := make([][]int32, len(asked))
	for i, q := range asked {
		prompts[i] = q.ids
	}
	ids := make([][]int32, len(answers))
	for i := range answers {
		ids[i] = answers[i].IDs
	}
	if logps, err = reference.LogProbs(ctx, prompts, ids, temperature); err != nil {
		return nil, nil, err
	}
	kls = make([]float64, len(answers))
	for i := range answers {
		for j, v := range answers[i].LogProbs {
			kls[i] += v - logps[i][j]
		}
	}
	return logps, kls, nil
}

// question is a prompt as the policy reads it.
type question struct {
	text data.Text
	ids  []int32
	said string // what ids decode to
	key  uint64 // stands for the prompt in random numbers
}

// writer is a policy that writes answers.
type writer struct {
	policy  *lm.Policy
	decoder *model.Decoder
	rooms   sync.Pool // of []float32, for the probabilities of a token
}

// read encodes a prompt, as supervised fine-tuning reads one.
func (v *writer) read(t data.Text) (question, error) {
	p := v.policy
	q := question{text: t}
	text := t.Plain
	if t.IsChat() {
		if p.Template == nil {
			return q, fmt.Errorf("a conversation, and the policy has no chat template")
		}
		r, err := p.Template.Render(t.Messages, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return q, err
		}
		text = r.Text
	} else if p.BOS >= 0 {
		q.ids = append(q.ids, p.BOS)
	}
	q.ids = p.Tokenizer.AppendEncode(q.ids, text, tokenizer.Options{NoParseSpecial: !t.IsChat()})
	if len(q.ids) == 0 {
		return q, fmt.Errorf("an empty prompt, and the policy has no token that begins a text")
	}
	q.said = p.Tokenizer.Decode(q.ids, true)
	return q, nil
}

// sample draws answers with the weights as they are.
func (v *writer) sample(ctx context.Context, asked []question, s Sampling) ([]Answer, error) {
	prompts := make([][]int32, len(asked))
	keys := make([]uint64, len(asked)*s.N)
	out := make([]Answer, len(keys))
	for i, q := range asked {
		prompts[i] = q.ids
		for j := range s.N {
			keys[i*s.N+j] = key(s.Seed, q.key, uint64(j))
			out[i*s.N+j].Prompt = i
		}
	}
	temperature := s.temperature()
	err := v.decoder.Decode(ctx, prompts, s.N, s.Tokens, func(i int, logits []float32) (int32, bool) {
		a := &out[i]
		room, ok := v.rooms.Get().(*[]float32)
		if !ok {
			room = new(make([]float32, len(logits)))
		}
		defer v.rooms.Put(room)
		c := cpu.NewCategorical(*room, logits, temperature)
		id := s.draw(c.P, nn.Uniform(nn.Mix(keys[i], uint64(len(a.IDs)))))
		a.IDs = append(a.IDs, id)
		a.LogProbs = append(a.LogProbs, c.LogProb(id))
		a.Ended = slices.Contains(v.policy.Ends, id)
		return id, a.Ended
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Text = v.say(&asked[out[i].Prompt], out[i].IDs)
	}
	return out, nil
}

// say decodes an answer behind its prompt: the first token of a text may be
// written otherwise than one in its middle.
func (v *writer) say(q *question, ids []int32) string {
	whole := v.policy.Tokenizer.Decode(append(append([]int32(nil), q.ids...), ids...), true)
	if n := len(q.said); len(whole) >= n && whole[:n] == q.said {
		return whole[n:]
	}
	return v.policy.Tokenizer.Decode(ids, true)
}

// written is prompt and answer with the special tokens written out.
func (v *writer) written(q *question, ids []int32) string {
	return v.policy.Tokenizer.Decode(append(append([]int32(nil), q.ids...), ids...), false)
}
