// Package boards is the arithmetic of the leaderboards of reward models: which sections a board has,
// what each counts for, and what a tie is worth there.
//
// It knows the scores of answers and where the board counts them, and nothing of texts, models or
// files; every function is pure. A board is as its authors' own program computes it, which is not
// always as their paper says.
//
//	RewardBench    23 subsets in four sections, a subset by the count that the authors give it (PRM Math
//	               for 984 although it has 447), the mean of the four. A tie is a loss.
//	RewardBench 2  Best of four, the mean of six subsets. A right answer that shares the top with k − 1
//	               others counts 1/k. Ties, where several answers are right: see [ties].
//	RM-Bench       Each of three right answers, by style, against each of three wrong ones; the mean of
//	               four domains. Hard is where the wrong one has the fancier style. A tie is a loss.
//	RMB            Shares of pairs, and of best-of-N lists whose best answer beats every other one; the
//	               mean of helpfulness and harmlessness in both. A tie is a loss.
//	JudgeBench     Share of all pairs; sections are told by where a question comes from. Judged in both
//	               orders, a tie is inconsistent, and so no success.
//	PPE            Human preference: share of the pairs that people decided. Correctness, the means of
//	               five sets: share of the sampled pairs of a right and a wrong answer, where a tie is a
//	               loss; area under the ROC curve; and of best of K, over all choices of K answers, the
//	               highest share of right choices at any K, that at the last K, and the loss to a judge
//	               who knows.
//
// How to start: [Named], then [Board.Score].
//
// Sources: allenai/reward-bench at 05a9005, rewardbench/constants.py and utils.py, scripts/run_v2.py;
// THU-KEG/RM-Bench at 73c52d7, scripts/utils.py; Zhou-Zoey/RMB-Reward-Model-Benchmark at 2be3180 and
// arXiv 2410.09893 for its overall mean; ScalerLab/JudgeBench at e2c52c2, run_judge.py and
// utils/metrics.py; PPE, arXiv 2410.14872, section 5, whose program could not be had.
package boards
