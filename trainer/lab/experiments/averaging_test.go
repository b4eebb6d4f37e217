package experiments

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/corruption"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/lab/members"
	"github.com/warmserve/warmserve/trainer/lab/pareto"
	"github.com/warmserve/warmserve/trainer/lab/shift"
	"github.com/warmserve/warmserve/trainer/lab/soups"
)

// TestExperimentsOnAverages runs the others on a base that has read a few lines:
// what they find there means nothing.
func TestExperimentsOnAverages(t *testing.T) {
	labtest.Whole(t)
	l := labtest.ArguingLab(t)
	for _, e := range []*lab.Experiment{corruption.Experiment(), shift.Experiment(), soups.Experiment(), pareto.Experiment(), members.Experiment(), members.Curve()} {
		labtest.RunTiny(t, l, e)
	}
	e := pareto.Experiment()
	was, err := lab.ReadResult(l.Dir, e.Name)
	require.NoError(t, err)
	again, err := l.Run(labtest.Stopped(t), e)
	require.NoError(t, err, "everything that took time is kept")
	assert.JSONEq(t, string(was.Measured), string(again.Measured))
}
