package rm

// line is one line of the metrics: a step, or with step 0 the probed head.
type line struct {
	Step     int      `json:"step"`
	Loss     *float64 `json:"loss,omitempty"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	LR       float64  `json:"lr,omitempty"`
	Norm     float64  `json:"grad_norm,omitempty"`
	Tokens   int      `json:"tokens,omitempty"`
	Test     *Score   `json:"test,omitempty"`
}
