package rl

import (
	"context"
	"errors"

	"github.com/warmserve/warmserve/trainer/data"
)

// Group is the answers to one prompt, to be compared with each other.
type Group struct {
	Prompt  data.Text
	Answers []string
	// Written are prompt and answer together as the policy saw them, special tokens
	// written out, for servers that are sent whole texts.
	Written []string
}

// Scored is what a scorer says of a group.
type Scored struct {
	Rewards []float64 // of each answer, finite
	// Revision names the one model that gave all of them; "" when that is not known.
	Revision string
	// Rescored counts how often the group had to be scored again because its rewards
	// came from several revisions. Retries counts requests that were sent again.
	Rescored, Retries int
}

// Scorer gives rewards. Every group's come from one revision of the reward model;
// two groups may have been scored by different ones.
type Scorer interface {
	Score(ctx context.Context, groups []Group) ([]Scored, error)
}

// ErrRewards is wrapped by the error of a run that got no rewards. The state is
// saved, and the same call goes on from there.
var ErrRewards = errors.New("no rewards: the state is saved, run the same again to go on")
