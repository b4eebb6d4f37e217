package live

// Failing lists the models that are to be tried again.
func Failing(cs *Changes) []string { return cs.failing() }
