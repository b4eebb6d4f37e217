package batch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paced is a scorer of so many tokens a second that notes its batches' tokens.
type paced struct {
	rate    float64
	batches []int
}

func (p *paced) Score(dst []float32, seqs []Sequence) error {
	n := 0
	for _, s := range seqs {
		n += len(s.IDs)
	}
	p.batches = append(p.batches, n)
	time.Sleep(time.Duration(float64(n) / p.rate * float64(time.Second)))
	return nil
}

func TestBatchesTakeAboutTheSameTimeWhateverTheModel(t *testing.T) {
	for _, c := range []struct {
		name string
		rate float64
		want int
	}{
		{"a slow model gets the smallest batches", 500, minBatchTokens},
		{"a middling one those of a quarter of a second", 16000, 4000},
		{"a fast one the largest", 1e6, 8192},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &paced{rate: c.rate}
				q := New(Config{})
				defer q.Close()
				seqs := make([]Sequence, 300)
				for i := range seqs {
					seqs[i].IDs = make([]int32, 100)
				}
				_, _, err := q.Submit(t.Context(), NewLane("a", p), seqs)
				require.NoError(t, err)
				require.Greater(t, len(p.batches), 3)
				assert.LessOrEqual(t, p.batches[0], 2*minBatchTokens, "before the pace is known")
				assert.InDelta(t, c.want, p.batches[1], 100, "a sequence more or less")
			})
		})
	}
}
