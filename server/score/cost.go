package score

import (
	"context"
	"iter"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/live"
)

// What requests take, in bytes; reserved before it is taken.
const (
	// bodyCost is what one byte of a body takes at once: its own, that of the
	// strings decoded from it, that of the text rendered of these, and a quarter
	// of a token, with what the tokeniser needs to find it.
	bodyCost = 4
	// FixedCost is what a request takes whatever its size: its goroutine, the
	// connection's buffers, its log record.
	FixedCost = 16 << 10
	// tokenCost is an id in its sequence and, where a model has types, its type.
	tokenCost = 8
	// answerCost is what an answer takes beside its tokens, once for itself and
	// once for each lane that scores it: its places in the task and in the queue,
	// and what the reply says of it.
	answerCost = 256
	// templateTokens is about what a chat template adds to an answer.
	templateTokens = 1024
)

// RequestCost is what a request whose body has n bytes may hold, up to its tokens.
func RequestCost(n int64) int64 { return FixedCost + bodyCost*n }

// reserveTokens makes room for the tokens of the request of c: those of so many
// answers, each within the model's context and what its body can hold, on so
// many lanes; and for the most that reading one of the inputs takes.
func (s *Service) reserveTokens(
	ctx context.Context, c *Call, i *live.Instance, answers, lanes int, inputs iter.Seq[*api.Input],
) error {
	each := min(int64(i.Info().ContextLength), c.Text/bodyCost+templateTokens)
	tokens := min(int64(answers)*each, int64(s.cfg.MaxTokens))
	scratch := int64(0)
	if m, ok := i.Model().(live.Sizer); ok {
		for in := range inputs {
			scratch = max(scratch, m.PrepareSize(in))
		}
	}
	return c.Hold.Resize(ctx, c.Text+scratch+tokensCost(answers, lanes, tokens))
}

// keepTokens gives back what the text of c took on its way to these tokens, and
// makes room for more bytes. The strings stay: a dialect's request may be prepared
// again.
func (s *Service) keepTokens(ctx context.Context, c *Call, answers, lanes, tokens int, more int64) error {
	return c.Hold.Resize(ctx, c.Text/2+tokensCost(answers, lanes, int64(tokens))+more)
}

func tokensCost(answers, lanes int, tokens int64) int64 {
	return tokens*tokenCost + int64(answers)*int64(1+lanes)*answerCost
}
