package bestofn

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

const kindControl = "control"

// report turns measurements into findings.
type report struct {
	*measurements
	f                       *lab.Findings
	judges, values, matches [][]string
}

// tests are the pairs that judges are compared on.
func (r *report) tests() []judgeTest {
	out := []judgeTest{{r.Groups, func(c candidate) []float64 { return c.valid }}}
	if len(r.FreshGroups) > 0 {
		out = append(out, judgeTest{r.FreshGroups, func(c candidate) []float64 { return c.fresh }})
	}
	return out
}

// judgeTest are pairs by their clusters, and a judge's margins on them.
type judgeTest struct {
	groups  []string
	margins func(c candidate) []float64
}

// right is the share of the judges that are right about each pair.
func (t judgeTest) right(judges []candidate) []float64 {
	out := make([]float64, len(t.groups))
	for _, c := range judges {
		for i, w := range lab.Wins(t.margins(c)) {
			out[i] += w / float64(len(judges))
		}
	}
	return out
}

// accuracy adds a row on how judges, on average, do on pairs that none learned
// from.
func (r *report) accuracy(name, learned string, judges []candidate) {
	row := []string{name, learned}
	for _, t := range r.tests() {
		row = append(row, r.f.Estimate(lab.Mean(t.right(judges), t.groups)).Percent())
	}
	r.judges = append(r.judges, row)
}

// stronger notes by how much the control is more accurate than single proxies, on
// all pairs that no judge learned from.
func (r *report) stronger(p *proxies, single selector) {
	control := proxy{Valid: r.Valid, Fresh: r.Fresh}
	var difference []float64
	var groups []string
	for k, t := range r.tests() {
		better := t.right([]candidate{control.candidate()})
		for i, w := range t.right(single.candidates) {
			difference = append(difference, better[i]-w)
			groups = append(groups, fmt.Sprint(k, " ", t.groups[i]))
		}
	}
	e := r.f.Estimate(lab.Mean(difference, groups))
	verdict := "the control is a better judge"
	if lab.Judge(e) != lab.Seen {
		verdict = "the control is not shown to be a better judge, and what it says of their picks is agreement rather than quality"
	}
	r.f.Notes = append(r.f.Notes,
		fmt.Sprintf("On the %d pairs of the table of judges the control is more accurate than single reward models with %s by %s points: %s.",
			len(difference), contest.Labels(p.Swapped), e.Points(), verdict))
}

// chosen is a selector with its picks for each of N.
type chosen struct {
	selector
	picks []picked
}

// proxies adds what one set of proxies shows.
func (r *report) proxies(p *proxies) error {
	selectors, err := p.selectors(r.Ms)
	if err != nil {
		return err
	}
	control := gains(r.Control.Values(), r.Samples)
	tokens := make([]float64, len(r.Tokens))
	for i, n := range r.Tokens {
		tokens[i] = float64(n)
	}
	r.stronger(p, selectors[0])
	var all []chosen
	for _, s := range selectors {
		r.accuracy(s.String(), contest.Labels(p.Swapped), s.candidates)
		c := chosen{selector: s}
		for _, n := range r.N {
			c.picks = append(c.picks, s.pick(n, r.Samples, control, tokens))
		}
		all = append(all, c)
	}
	r.rows(p, all)
	r.figures(p, all)
	r.verdicts(p, all, control)
	return nil
}

// rows adds to the table of gains.
func (r *report) rows(p *proxies, all []chosen) {
	last := len(r.N) - 1
	for _, c := range all {
		row := []string{contest.Labels(p.Swapped), c.String()}
		for _, k := range r.shown() {
			row = append(row, contest.Deviations(r.f.Estimate(lab.Mean(c.picks[k].control, nil))))
		}
		row = append(row, contest.Deviations(r.f.Estimate(lab.Mean(c.picks[last].own, nil))),
			fmt.Sprintf("%.1f", r.f.Estimate(lab.Mean(c.picks[last].tokens, nil)).Value))
		r.values = append(r.values, row)
	}
}

// shown are the places in N of the columns: a small, a middling and the largest.
func (r *report) shown() []int {
	n := len(r.N)
	out := []int{n / 4, n / 2, n - 1}
	return slices.Compact(out)
}

// figures adds the gain in control reward and in the proxies' own reward over KL.
func (r *report) figures(p *proxies, all []chosen) {
	most := slices.Max(r.Ms)
	kl, logN := make([]float64, len(r.N)), make([]float64, len(r.N))
	for i, n := range r.N {
		kl[i], logN[i] = bestOfKL(n), math.Log2(float64(n))
	}
	draw := func(name, title, label string, x []float64, y string, value func(picked) []float64) {
		f := drawing.Figure{Name: fmt.Sprintf("%s-c%02.0f", name, 100*p.Swapped),
			Title: title + ", " + contest.Labels(p.Swapped),
			X:     drawing.Axis{Label: label},
			Y:     drawing.Axis{Label: y}, Caption: r.caption(p)}
		for _, c := range all {
			s := drawing.Series{Label: c.String(), X: x}
			if c.kind == contest.KindSingle {
				s.Label = contest.KindSingle
			}
			band := c.kind == contest.KindSingle || c.m == most && c.kind != contest.KindMin
			if c.kind != contest.KindWA && !band && c.m != most {
				continue // ensembles are drawn for the largest M
			}
			for _, picks := range c.picks {
				e := r.f.Estimate(lab.Mean(value(picks), nil))
				s.Y = append(s.Y, e.Value)
				if band {
					s.Low, s.High = append(s.Low, e.Low), append(s.High, e.High)
				}
			}
			f.Series = append(f.Series, s)
		}
		r.f.Figures = append(r.f.Figures, f)
	}
	const (
		unit    = " (standard deviations)"
		overKL  = "KL of best of N from the policy, log N − (N−1)/N (nats)"
		overLog = "log₂ N"
	)
	control := func(p picked) []float64 { return p.control }
	draw("control", "Control reward of the pick", overKL, kl, "gain in control reward"+unit, control)
	draw("control-log-n", "Control reward of the pick over log N", overLog, logN, "gain in control reward"+unit, control)
	draw("proxy", "Its own reward of the pick", overKL, kl, "gain in its own reward"+unit,
		func(p picked) []float64 { return p.own })
}

func (r *report) caption(p *proxies) string {
	return fmt.Sprintf("%d prompts, %d samples each at temperature 1, N up to %d; %d members; mean over members or groups of M; gain: over the mean of the prompt's samples, in standard deviations of all; bands: 95 %% bootstrap over prompts.",
		len(r.Unseen), r.Samples, slices.Max(r.N), len(p.Members))
}

// verdicts compares the average of most members with a single one and with the
// ensemble.
func (r *report) verdicts(p *proxies, all []chosen, control []float64) {
	most, last := slices.Max(r.Ms), len(r.N)-1
	find := func(kind string) chosen {
		i := slices.IndexFunc(all,
			func(c chosen) bool { return c.kind == kind && (c.m == most || kind == contest.KindSingle) })
		return all[i]
	}
	wa := find(contest.KindWA)
	for _, other := range []chosen{find(contest.KindSingle), find(contest.KindENS), find(contest.KindMin)} {
		matches := r.match(p, wa, other, control)
		if other.kind == contest.KindMin {
			continue // in the tables alone: the paper does not compare with it
		}
		name := "a single reward model"
		if other.kind == contest.KindENS {
			name = fmt.Sprintf("ENS, M = %d", most)
		}
		var figures []string
		for _, m := range slices.Backward(matches) {
			figures = append(figures,
				fmt.Sprintf("N = %d: difference %s standard deviations, win rate %s %%", m.n,
					contest.Deviations(m.difference), m.rate.Percent()))
		}
		end := matches[len(matches)-1].difference
		judge := func(what string, e eval.Estimate, figures string) {
			v := lab.Verdict{Source: source, Figures: fmt.Sprintf("%s; %d prompts", figures, len(r.Unseen)),
				Claim: fmt.Sprintf("%s by WA, M = %d, has a higher control reward than by %s; %s", what, most, name,
					contest.Labels(p.Swapped))}
			r.f.Judge(v, lab.Judge, e, len(r.Unseen), "prompts")
		}
		judge(fmt.Sprintf("The best of %d", r.N[last]), end, strings.Join(figures, "; "))
		over := r.f.Estimate(lab.Mean(r.overLogN(wa, other), nil))
		judge(fmt.Sprintf("Over N = %d … %d, evenly in log N, the best", r.N[0], r.N[last]), over,
			fmt.Sprintf("difference %s standard deviations", contest.Deviations(over)))
	}
}

// overLogN is by how much the control reward of a's picks is above that of b's, prompt by prompt:
// the mean over log N, linear between the numbers.
func (r *report) overLogN(a, b chosen) []float64 {
	out := make([]float64, len(r.Unseen))
	last := len(r.N) - 1
	for k := range last {
		share := math.Log(float64(r.N[k+1])/float64(r.N[k])) / math.Log(float64(r.N[last])/float64(r.N[0]))
		for i := range out {
			for _, at := range []int{k, k + 1} {
				out[i] += share / 2 * (a.picks[at].control[i] - b.picks[at].control[i])
			}
		}
	}
	if last == 0 {
		out = lab.Minus(a.picks[0].control, b.picks[0].control)
	}
	return out
}

// matchAt is how WA does against another selector at one N.
type matchAt struct {
	n int
	// difference is that of the control rewards of their picks, prompt by prompt, and
	// rate the win rate.
	difference, rate eval.Estimate
}

// match adds the matches of WA against another selector to the table.
func (r *report) match(p *proxies, wa, other chosen, control []float64) (out []matchAt) {
	for _, k := range r.shown() {
		a, b := wa.picks[k], other.picks[k]
		rates, percent := contest.Sum(a.against(b, r.Samples, control))
		m := matchAt{n: r.N[k], rate: r.f.Estimate(lab.Mean(rates, nil)),
			difference: r.f.Estimate(lab.Mean(lab.Minus(a.control, b.control), nil))}
		out = append(out, m)
		r.matches = append(r.matches, slices.Concat([]string{contest.Labels(p.Swapped),
			wa.String() + " against " + other.String(), fmt.Sprint(m.n), contest.Deviations(m.difference)},
			percent, []string{m.rate.Percent()}))
	}
	return out
}

// blind says what the control cannot see.
func (r *report) blind() string {
	if r.Apart {
		return "The control is a reward model as well, of another base than the proxies: what all reward models of such pairs share it cannot see."
	}
	return "The control is a reward model as well, from the same base as the proxies: what it shares with them it cannot see."
}

// finish adds tables and notes.
func (r *report) finish() *lab.Findings {
	columns := []string{"labels", "selector"}
	for _, k := range r.shown() {
		columns = append(columns, fmt.Sprintf("gain, N = %d", r.N[k]))
	}
	most := slices.Max(r.N)
	columns = append(columns, fmt.Sprintf("its own gain, N = %d", most), fmt.Sprintf("tokens, N = %d", most))
	who := "all know"
	if r.Halves {
		who = "the proxies alone know"
	}
	known := []string{"judge", "learned from", fmt.Sprintf("debates that %s (%d pairs)", who, len(r.Groups))}
	if n := len(r.FreshGroups); n > 0 {
		known = append(known, fmt.Sprintf("debates that the control alone knows (%d pairs)", n))
	}
	tokens := 0
	for _, n := range r.Tokens {
		tokens += n
	}
	unseen := 0
	for _, u := range r.Unseen {
		if u {
			unseen++
		}
	}
	r.f.Tables = []lab.Table{
		{Name: "gain", Title: "Gain in control reward of the pick over a random sample, in standard deviations of the control's rewards", Columns: columns, Rows: r.values},
		{Name: "wins", Title: "Difference in control reward in standard deviations, and wins, ties and losses in percent; the win rate counts a tie as half",
			Columns: []string{"labels", "match", "N", "difference", "wins", "ties", "losses", "win rate"},
			Rows:    r.matches},
		{Name: "judges", Title: "Accuracy in percent on pairs with gold labels whose arguments no judge has seen", Columns: known, Rows: r.judges},
	}
	r.f.Notes = append(r.f.Notes,
		fmt.Sprintf("Intervals are over the %d prompts, %d of which belong to debates that no proxy learned from; policy, members and control are one draw each.", len(r.Unseen), unseen),
		r.blind(),
		"For N below the number of samples the picks are averaged over all subsets of size N, which is unbiased; win rates there are of independent subsets.",
		"The mean of ENS is of raw rewards, its minimum of rewards z-scored on the samples.",
		fmt.Sprintf("A sample has %.1f tokens on average.", float64(tokens)/float64(len(r.Tokens))),
	)
	return r.f
}
