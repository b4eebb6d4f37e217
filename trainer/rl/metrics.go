package rl

import "math"

// Metrics is one step, as metrics.jsonl keeps it. Rewards are raw.
type Metrics struct {
	Step      int      `json:"step"`
	Reward    float64  `json:"reward"` // mean over the answers
	RewardStd float64  `json:"reward_std"`
	Control   *float64 `json:"control,omitempty"` // mean of the control reward
	Return    float64  `json:"return"`            // mean of what is maximised: shaped, less the penalty in the reward
	KL        float64  `json:"kl"`                // mean over the answers of their KL from the reference, in nats
	KLToken   float64  `json:"kl_token"`          // the same for each token
	Entropy   float64  `json:"entropy"`           // mean over the tokens, in nats
	Length    float64  `json:"length"`            // mean, in tokens
	Ended     float64  `json:"ended"`             // share of answers with an end token
	Baseline  *float64 `json:"baseline,omitempty"`
	Loss      float64  `json:"loss"`         // of the last update
	Clipped   float64  `json:"clipped"`      // share of tokens whose ratio was clipped in the last update
	Norm      float64  `json:"grad_norm"`    // before clipping, of the last update
	LR        float64  `json:"lr,omitempty"` // of the last update
	Tokens    int      `json:"tokens"`       // of all answers
	Revision  string   `json:"revision,omitempty"`
	Revisions int      `json:"revisions,omitempty"` // how many scored the batch, where more than one did
	Rescored  int      `json:"rescored,omitempty"`  // groups that had to be scored again
}

// Held is a measurement on held-out prompts, one answer each, by the policy after
// so many steps. It has a line of its own in metrics.jsonl, under "held".
type Held struct {
	Step    int      `json:"after"`
	Prompts int      `json:"prompts"`
	Reward  float64  `json:"reward"`
	Error   float64  `json:"standard_error"`
	Control *float64 `json:"control,omitempty"`
	KL      float64  `json:"kl"`
	Length  float64  `json:"length"`
	Ended   float64  `json:"ended"`
}

// told is what answers are like.
type told struct {
	reward, control, kl, length, ended moments
	tokens                             int
}

// describe sums up answers whose KL from the reference is kls.
func describe(answers []Answer, kls []float64) told {
	var t told
	for i := range answers {
		a := &answers[i]
		t.reward.add(a.Reward)
		t.control.add(a.Control)
		t.kl.add(kls[i])
		t.length.add(float64(len(a.IDs)))
		ended := 0.0
		if a.Ended {
			ended = 1
		}
		t.ended.add(ended)
		t.tokens += len(a.IDs)
	}
	return t
}

func (t *told) held(step int) *Held {
	return &Held{
		Step: step, Prompts: t.reward.N, Reward: t.reward.Mean,
		Error: t.reward.std() / math.Sqrt(float64(t.reward.N)),
		KL:    t.kl.Mean, Length: t.length.Mean, Ended: t.ended.Mean,
	}
}
