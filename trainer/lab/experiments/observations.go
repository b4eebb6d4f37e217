package experiments

import (
	"regexp"

	"github.com/warmserve/warmserve/trainer/lab"
)

// Observations are the paper's (WARM, arXiv 2401.12187) and those beside it that the plan of the
// pre-trained bases asks about, in its order; docs/lab/plan.md numbers them.
func Observations() []lab.Observation {
	of := func(experiment, number, says, paper, claim string) lab.Observation {
		return lab.Observation{Experiment: experiment, Number: number, Says: says, Paper: paper, Claim: regexp.MustCompile(claim)}
	}
	return []lab.Observation{
		of("members", "H1a", "WA is more accurate than a member alone, unseen debates", "section 4", `: WA is more accurate than a member alone, unseen debates$`),
		of("members", "H1b", "WA is more accurate than a member alone, same debates", "section 4", `: WA is more accurate than a member alone, same debates$`),
		{Experiment: "members", Number: "H1c", Says: "accuracy of WA on strict pairs of unseen debates, gold preferences, at least 85 %", Paper: "ours",
			Cell: &lab.Cell{Table: "methods", Row: "WA", Column: "gold preferences: unseen debates", Want: 85}},
		of("members", "H2a", "half-way between two members accuracy is no worse than that of both", "observation 1, figure 3", `half-way between two members`),
		of("members", "H2b", "with gold preferences WA is about as accurate as ENS", "observation 2", `^Labels: gold preferences: WA is about as accurate as ENS`),
		of("members", "", "with votes WA is about as accurate as ENS", "observation 2", `^Labels: votes as they are: WA is about as accurate as ENS`),
		of("connectivity", "", "Control: without a shared pre-training the line breaks", "observation 1, section 3.1", `^Control: `),
		of("corruption", "H3a", "WA memorises fewer of the wrong labels than ENS", "observation 3, figure 4", `memorises fewer wrong labels than ENS`),
		of("corruption", "H3b", "WA memorises fewer of the wrong labels than a member alone", "observation 3", `memorises fewer wrong labels than a member alone`),
		of("corruption", "H3c", "with wrong labels WA is more accurate than ENS on unseen debates", "observation 3, figure 4", `WA is more accurate than ENS on unseen debates`),
		of("corruption", "H3d", "with wrong labels WA is more accurate than ENS in distribution", "figure 4", `WA is more accurate than ENS in distribution`),
		of("shift", "H4a", "averages of different members disagree less than the members", "section 4, variance", `disagree less than the members`),
		of("shift", "H4b", "averages of different members disagree no more than ensembles of the same", "ours", `disagree no more than ensembles`),
		of("connectivity", "H4c", "members of starts along one fine-tuning are linearly connected", "section 3.1 (Baklava)", `from different checkpoints of one fine-tuning`),
		of("bon", "H5a", "the best of N by WA has a higher control reward than by a single reward model", "section 5, best of N", `has a higher control reward than by a single reward model`),
		of("bon", "H5b", "the best of N by WA has a higher control reward than by ENS", "section 5, best of N", `has a higher control reward than by ENS`),
		of("rl", "", "After as many steps a policy of WA wins against one of a single reward model", "79.4 %", `^A policy fine-tuned by WA, M = \d+, wins against one fine-tuned by a single`),
		of("rl", "H6a", "at equal KL the policy of WA wins against that of the best member, by the control", "79.4 %", `^At equal KL .* judged by the control`),
		of("rl", "H6b", "at equal KL the policy of WA wins against that of the best member, by a second control", "79.4 %", `^At equal KL .* judged by a second control`),
		of("rl", "H6c", "the control reward begins to fall, while the proxy's rises, later for WA", "section 5, RL", `^Hacking, `),
		{Experiment: "cost", Number: "7", Says: "what the ensemble costs beside the average, served", Paper: "M models for one", Cell: &lab.Cell{Table: "cost", Row: "ENS", Column: "beside WA"}},
		{Experiment: "cost", Number: "7", Says: "what a member alone costs beside the average, served", Paper: "the same", Cell: &lab.Cell{Table: "cost", Row: "a member alone", Column: "beside WA"}},
	}
}

// Summary is the page docs/lab/README.md.
func Summary(labs []lab.Summarised) ([]byte, error) {
	tables, err := lab.Summary(labs, All(), Observations())
	return append([]byte(summaryHead), tables...), err
}

const summaryHead = `# What was seen of the paper, base by base

The paper is WARM (Ramé et al. 2024, arXiv 2401.12187). "warm lab report --summary NAME=DIR" writes this page from results, each row from one verdict; an experiment without a result is *not run*. Intervals are of 95 %; a claim is
*seen* when its whole interval says so, *contradicted* when all of it says the opposite, else *unclear*, and then the row says what would decide it. [The plan](plan.md) was written before the first run on a pre-trained base; [the laboratory](../lab.md) says how it is repeated.

`
