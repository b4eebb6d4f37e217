// Package experiments lists the experiments of a lab.
package experiments

import (
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/bestofn"
	"github.com/warmserve/warmserve/trainer/lab/connectivity"
	"github.com/warmserve/warmserve/trainer/lab/corruption"
	"github.com/warmserve/warmserve/trainer/lab/members"
	"github.com/warmserve/warmserve/trainer/lab/pareto"
	"github.com/warmserve/warmserve/trainer/lab/rl"
	"github.com/warmserve/warmserve/trainer/lab/shift"
	"github.com/warmserve/warmserve/trainer/lab/soups"
)

// All returns the experiments. Those that train the members that others share come
// first.
func All() []*lab.Experiment {
	return []*lab.Experiment{connectivity.Experiment(), corruption.Experiment(), shift.Experiment(),
		soups.Experiment(), pareto.Experiment(), bestofn.Experiment(), rl.Experiment(), members.Experiment(), members.Curve(), members.Cost()}
}
