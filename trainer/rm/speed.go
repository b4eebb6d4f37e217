package rm

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward"
)

// Speed measures how many tokens a second one worker learns from with the base and in the number format
// of a run: forward and backward of a few short answers, the second time. The optimiser's step is not
// in it.
func (c Config) Speed() (tokensPerSecond float64, err error) {
	b, err := c.openBase()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Checkpoint.Close()) }()
	t, err := model.NewTraining(b.parsed, b.source(), 1, c.dtype())
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.Base, err)
	}
	defer t.Close()
	const answers, words = 8, 60
	var seqs []model.Sequence
	tokens := 0
	for i := range answers {
		// Equal answers would be computed once.
		text := strings.Repeat("reward ", i+1) + strings.Repeat("model ", words-i-1)
		e, err := b.Encoder.Encode(reward.Input{Text: &text}, reward.EncodeOptions{})
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.Base, err)
		}
		seqs, tokens = append(seqs, e.Sequence), tokens+len(e.IDs)
	}
	scores, grad := make([]float32, answers), make([]float32, answers)
	for i := range grad {
		grad[i] = 1
	}
	var took time.Duration
	for range 2 {
		begun := time.Now()
		if err := t.Forward(scores, seqs, model.Pass{}); err != nil {
			return 0, err
		}
		t.Backward(grad)
		took = time.Since(begun)
	}
	return float64(tokens) / max(took, time.Microsecond).Seconds(), nil
}
