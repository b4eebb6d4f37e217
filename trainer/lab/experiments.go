package lab

// Experiments returns all experiments. Those that train the members that others
// share come first.
func Experiments() []*Experiment {
	return []*Experiment{Connectivity(), Corruption(), Shift(), Soups(), Pareto(), BestOfN(), RL()}
}
