package lab

// Experiments returns all experiments in the order in which they share members
// best.
func Experiments() []*Experiment {
	return []*Experiment{Connectivity(), Corruption(), Shift(), Soups(), Pareto(), BestOfN(), RL()}
}

// Find returns the experiment of a name; nil when there is none.
func Find(name string) *Experiment {
	for _, e := range Experiments() {
		if e.Name == name {
			return e
		}
	}
	return nil
}
