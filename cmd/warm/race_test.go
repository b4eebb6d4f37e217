//go:build race

package main

// raceEnabled says that the race detector's own memory counts in what is measured.
const raceEnabled = true
