// Package members is the experiment that the others build on: how accurate members are on
// debates that they never saw, every debate in turn, and what their weight average and their
// ensemble make of them, over the number of members. They learn from gold preferences, or from
// the crowd's votes as they are.
//
// Sources: Ramé et al. 2024, arXiv 2401.12187, sections 3 and 4, figures 3 to 5; Habernal and
// Gurevych 2016 (ACL), whose data and division by debates this is.
package members
