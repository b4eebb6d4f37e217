//go:build !unix

package main

import "os"

func peakRSS(*os.ProcessState) (int, bool) { return 0, false }
