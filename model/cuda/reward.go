package cuda

import (
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// Rewards makes the rewards of sequences of their outputs, which lie as [Engine.Outputs] writes them,
// and gives them to sequences that have room for them. Constants are those of the [Image].
func Rewards(n *nn.Network, constants [][]float32, dst []float32, seqs []plan.Sequence, outputs []float32) {
	width, at := n.Head.Outputs(), 0
	var picked []float32
	for i := range seqs {
		s := &seqs[i]
		own := outputs[at:][:s.Rows()*width]
		at += len(own)
		copy(s.Outputs, own)
		if s.Every { // those that make the reward are among others
			picked = picked[:0]
			for _, t := range s.Read {
				picked = append(picked, own[int(t)*width:][:width]...)
			}
			own = picked
		}
		if n.Head.Readout == nil {
			dst[i] = own[0]
		} else {
			dst[i] = n.Head.Readout.Reward(own, constants)
		}
	}
}

// OutputsOf is how many outputs sequences have together.
func OutputsOf(n *nn.Network, seqs []plan.Sequence) int {
	rows := 0
	for i := range seqs {
		rows += seqs[i].Rows()
	}
	return rows * n.Head.Outputs()
}
