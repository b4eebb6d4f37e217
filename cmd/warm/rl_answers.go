package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"

	"github.com/warmserve/warmserve/trainer/rl"
)

// spokenAnswer is an answer as --answers-to writes it.
type spokenAnswer struct {
	Step    int      `json:"step"`
	Prompt  string   `json:"prompt"`
	Answer  string   `json:"answer"`
	Reward  float64  `json:"reward"`
	Control *float64 `json:"control,omitempty"`
	LogProb float64  `json:"logprob"`
	Tokens  int      `json:"tokens"`
	Ended   bool     `json:"ended"`
}

// saveAnswers appends the answers of every step to a file. done reports what went
// wrong in writing.
func saveAnswers(path string) (saw func(rl.Seen), done func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	var failed error
	saw = func(s rl.Seen) {
		for i := range s.Answers {
			a := &s.Answers[i]
			line := spokenAnswer{
				Step: s.Step, Prompt: s.Prompts[a.Prompt], Answer: a.Text, Reward: a.Reward,
				LogProb: a.LogProb(), Tokens: len(a.IDs), Ended: a.Ended,
			}
			if s.Control {
				line.Control = &a.Control
			}
			failed = errors.Join(failed, e.Encode(line))
		}
		failed = errors.Join(failed, w.Flush())
	}
	return saw, func() error { return errors.Join(failed, f.Close()) }, nil
}
