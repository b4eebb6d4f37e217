// Package warm is the mathematics of weight-averaged reward models: on tensors (averages and
// interpolations of checkpoints, and whether they make sense) and on scores (ensembles).
//
// It knows what has to agree between members before their weights may be averaged. It does not know
// how a model computes, how tensors are laid out for kernels, or how requests arrive.
//
// Start with [NewAverage], which takes open checkpoints and is itself a [loader.Source]: its tensors are
// computed when they are read, piece by piece, so that an average of M models needs the memory
// of one tensor. [Average.Contents] goes to [loader.Save]; [Ensemble] aggregates the scores of members that
// are kept apart; [Diagnose] says whether members look like children of one initialisation.
//
// # What is computed
//
// θ = θ₀ + α·(Σ wᵢ θᵢ − θ₀) with Σ wᵢ = 1, element by element: as one sum of products cᵢ·xᵢ in
// float64, in the order of the members' names, rounded once to float32. With equal weights the
// products are left out and the sum is divided by the number of members. It follows, to the bit,
// that
//
//   - an average of one member, or of k copies of it, is that member, and α = 0 is the base;
//   - the order in which members are listed changes nothing, since they are sorted by name;
//   - with equal weights and α = 1, renaming changes nothing either wherever the float64 sum is exact. A float32 has
//     24 bits, so it is exact when log₂M plus the spread of the members' exponents is at most 29: members
//     of one element whose sizes differ by less than a factor of 2²⁹/M. Outside of that, or with unequal
//     weights, another order may change the last bit of the sum, which changes the float32 only
//     next to a tie (probability about 2⁻²⁸ an element);
//   - results do not depend on how a tensor is cut into reads, on goroutines, or on the CPU: products are
//     rounded before they are added on every machine.
//
// # What is not averaged
//
// Tensors that are not parameters (tables of rotary frequencies, position ids, causal masks) are
// left out: models recompute them. Any other tensor that is not floating, such as a quantised
// weight, is an error. The tables of such names, of the ignored configuration fields and of their
// defaults stand in this package, each entry with its reason.
//
// Source: A. Ramé et al., WARM: On the Benefits of Weight Averaged Reward Models, ICML 2024, arXiv
// 2401.12187.
package warm
