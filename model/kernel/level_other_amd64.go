//go:build amd64 && !linux && !noasm

package kernel

import "errors"

// askForTiles knows of no other system that saves tiles for Go programs.
func askForTiles() error { return errors.New("tiles are used on Linux only") }
