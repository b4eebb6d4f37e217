//go:build race

package api_test

// raceEnabled says that the race detector's own memory counts in what is measured.
const raceEnabled = true
