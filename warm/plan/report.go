package plan

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Write prints the plan for people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c := r.Capacity
	fmt.Fprintf(t, "%s on %s\t%.3g B parameters, %.2f GFLOP a token, %.0f %% of the peak\n", r.Model, r.Device,
		r.Parameters/1e9, c.FLOPsPerToken/1e9, 100*c.Share)
	fmt.Fprintf(t, "one %s\t%.0f tokens/s\n", r.Unit, c.UnitTokens)
	fmt.Fprintf(t, "%.0f tokens/s\t%d replicas, %d %ss\n", r.TokensPerSecond, r.Replicas, r.Units, r.Unit)
	fmt.Fprintln(t)
	fmt.Fprintln(t, "queue, simulated\ttokens/s\tp50\tp99\tlongest\tsent again")
	for _, q := range r.Queue {
		fmt.Fprintf(t, "%s\t%.0f\t%v\t%v\t%v\t%d of %d\n", q.Case, q.TokensPerSecond, short(q.P50), short(q.P99), short(q.Max), q.Again, q.Groups)
	}
	fmt.Fprintln(t)
	fmt.Fprintf(t, "swap of %.0f GB on %d replicas\tinto each\tout of the store\ttime\tbound by\n", r.Swap.Bytes/1e9, r.Swap.Replicas)
	for _, m := range []struct {
		name string
		Moved
	}{{"each averages the members", r.Swap.Each}, {"averaged once", r.Swap.Once}} {
		fmt.Fprintf(t, "%s\t%.0f GB\t%.0f GB\t%v\t%s\n", m.name, m.PerReplica/1e9, m.Together/1e9,
			short(time.Duration(m.Seconds*float64(time.Second))), m.Bound)
	}
	if len(r.Inside) > 0 {
		fmt.Fprintln(t)
		fmt.Fprintln(t, "scoring inside the trainer\tcards' whole time\tof ours")
		for _, i := range r.Inside {
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\n", i.How, i.Cards, i.Times)
		}
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, a := range r.Assumptions {
		if _, err := fmt.Fprintf(w, "assumed: %s\n", a); err != nil {
			return err
		}
	}
	return nil
}

// short is a time to about three figures.
func short(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
