package shift

import (
	"fmt"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/methods"
	"github.com/warmserve/warmserve/warm"
)

// disagreements are, for each pair, the shares of comparisons in which two judges
// of one kind, made of different members, prefer different answers: two members,
// the averages of two halves, the ensembles of two halves.
type disagreements struct{ single, wa, ens []float64 }

func disagreementsOf(r *methods.Scores) (*disagreements, error) {
	n := len(r.Members[0].Chosen)
	d := &disagreements{single: make([]float64, n), wa: make([]float64, n), ens: make([]float64, n)}
	count := 0.0
	for j := range r.Members {
		for i := range j {
			differ(d.single, r.Members[i].Margins(), r.Members[j].Margins())
			count++
		}
	}
	divide(d.single, count)
	count = 0
	for k := 1; k+1 < len(r.Averages); k += 2 {
		a, b := r.Averages[k], r.Averages[k+1]
		differ(d.wa, a.Margins.Values(), b.Margins.Values())
		x, err := methods.EnsembleMargins(r.Members, a.Members, warm.Ensemble{})
		if err != nil {
			return nil, err
		}
		y, err := methods.EnsembleMargins(r.Members, b.Members, warm.Ensemble{})
		if err != nil {
			return nil, err
		}
		differ(d.ens, x, y)
		count++
	}
	divide(d.wa, count)
	divide(d.ens, count)
	return d, nil
}

// differ adds 1 for each pair of which two judges prefer different answers.
func differ(sum, a, b []float64) {
	x, y := lab.Wins(a), lab.Wins(b)
	for i := range sum {
		if x[i] != y[i] {
			sum[i]++
		}
	}
}

func divide(values []float64, by float64) {
	for i := range values {
		if by > 0 {
			values[i] /= by
		}
	}
}

// pool are the disagreements on all tests but the training pairs.
type pool struct {
	all      disagreements
	clusters []string
}

func (p *pool) add(t distantTest, d *disagreements) {
	p.all.single, p.all.wa, p.all.ens = append(p.all.single, d.single...), append(p.all.wa, d.wa...),
		append(p.all.ens, d.ens...)
	for _, c := range t.Clusters {
		p.clusters = append(p.clusters, t.Name+"/"+c)
	}
}

func (p *pool) verdicts(m *measurements, c *condition, f *lab.Findings) {
	for _, k := range []struct {
		claim, source, than string
		less, more          []float64
		judge               func(eval.Estimate) lab.Outcome
	}{
		{"Averages of different members disagree less than the members", "section 4, variance", "members",
			p.all.wa, p.all.single, lab.Judge},
		{"Averages of different members disagree no more than ensembles of the same ones",
			"ours: an average stands for an ensemble", "ensembles", p.all.wa, p.all.ens, lab.NoWorse},
	} {
		e := f.Estimate(lab.Mean(lab.Minus(k.more, k.less), p.clusters))
		f.Judge(lab.Verdict{Claim: k.claim + ", labels: " + c.Name, Source: k.source,
			Figures: fmt.Sprintf("disagreement of %s − averages: %s points over %s that were not trained on, M = %d",
				k.than, e.Points(), lab.Clustered(p.clusters), m.M)}, k.judge, e, lab.Distinct(p.clusters), "clusters")
	}
}
