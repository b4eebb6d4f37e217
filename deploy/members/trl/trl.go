// Package trl holds the program that trains the members of a plan by TRL's RewardTrainer. It is
// Python, which package trainer/trl writes beside the runs that it is to carry out.
package trl

import _ "embed"

// Program is members.py.
//
//go:embed members.py
var Program []byte
