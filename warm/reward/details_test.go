package reward

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// threefold has a score head with three rows.
type threefold struct{ loader.Source }

func (s threefold) Shape(name string) ([]int, bool) {
	shape, ok := s.Source.Shape(name)
	if name == "score.weight" {
		shape = []int{3, shape[1]}
	}
	return shape, ok
}

func (s threefold) ReadAt(dst []float32, name string, offset int) error {
	if name != "score.weight" {
		return s.Source.ReadAt(dst, name, offset)
	}
	for i := range dst {
		dst[i] = float32((offset+i)%5) - 2
	}
	return nil
}

// TestDetailsAreOfMembersWhoseHeadsAreAlike: room is made for the outputs of one head, whichever member is asked.
func TestDetailsAreOfMembersWhoseHeadsAreAlike(t *testing.T) {
	one := rewardtest.Checkpoint(t, "one", nil)
	three := rewardtest.Checkpoint(t, "three", func(c *loader.Contents) {
		c.Source = threefold{c.Source}
		c.Config = []byte(strings.Replace(rewardtest.Config, `{"0":"LABEL_0"}`, `{"0":"LABEL_0","1":"b","2":"c"}`, 1))
	})
	e := model.NewEngine(1)
	defer e.Close()
	for _, dirs := range [][]string{{one, three}, {three, one}} {
		d, err := Open(t.Context(), Config{Mode: ModeEns, Output: "0", Members: []Member{{Dir: dirs[0]}, {Dir: dirs[1]}}}, 1)
		require.NoError(t, err)
		w := Want{Trajectory: true}
		if err := d.Offers(w); err != nil {
			assert.ErrorContains(t, err, "heads")
			continue
		}
		for k := range dirs {
			x, err := d.Encode(Input{IDs: []int32{3, 4, 5}}, EncodeOptions{})
			require.NoError(t, err)
			d.Ask(&x, w)
			_, err = d.Score(e, d.Member(k), []Encoded{x})
			require.NoError(t, err)
			d.Details(d.Member(k), &x, w)
		}
	}
}
