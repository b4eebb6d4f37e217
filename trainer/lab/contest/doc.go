// Package contest is what best-of-N and reinforcement learning share: a policy that
// argues, the answers that it writes, proxies that are optimised, a control that judges
// what came of it, and how two sets of answers compare. Start with [Open].
package contest
