package load

import (
	"maps"
	"strconv"
	"time"
)

// Tally counts the requests whose end came in one part of a run.
type Tally struct {
	Statuses map[string]int `json:"statuses"` // of every request, and other ends by name
	Requests int            `json:"requests"` // answered well: the status 200 and as many rewards as answers
	Answers  int            `json:"answers"`  // of those, as are the next
	Tokens   int            `json:"tokens"`   // as the server counts
	Units    int            `json:"units"`    // as sent
	// RetryAfter counts the refusals by the seconds that they ask to wait.
	RetryAfter map[string]int `json:"retry_after,omitempty"`
}

func (t *Tally) count(status string, wait time.Duration, good bool, got outcome, units int) {
	if t.Statuses == nil {
		t.Statuses = map[string]int{}
	}
	t.Statuses[status]++
	if wait > 0 {
		if t.RetryAfter == nil {
			t.RetryAfter = map[string]int{}
		}
		t.RetryAfter[strconv.Itoa(int(wait/time.Second))]++
	}
	if good {
		t.Requests++
		t.Answers += got.answers
		t.Tokens += got.tokens
		t.Units += units
	}
}

// Ended is how many requests came to any end.
func (t *Tally) Ended() int {
	n := 0
	for _, k := range t.Statuses {
		n += k
	}
	return n
}

// plus adds two tallies.
func (t Tally) plus(o Tally) Tally {
	sum := func(a, b map[string]int) map[string]int {
		out := maps.Clone(a)
		if out == nil {
			return maps.Clone(b)
		}
		for k, n := range b {
			out[k] += n
		}
		return out
	}
	return Tally{
		Statuses: sum(t.Statuses, o.Statuses), RetryAfter: sum(t.RetryAfter, o.RetryAfter),
		Requests: t.Requests + o.Requests, Answers: t.Answers + o.Answers, Tokens: t.Tokens +
			o.Tokens, Units: t.Units + o.Units,
	}
}
