// Package load sends a reward server what reinforcement-learning stacks send,
// and measures its answers. It knows the request bodies of several stacks, how
// to draw their lengths, two ways of pacing, and how to count.
//
// In a closed loop each client sends its next request once the last is
// answered, as rollout workers do: the load adapts to the server. In an open
// loop requests come at a rate whatever the server does, as from independent
// users; then a latency counts from the moment at which a request was due, so
// that a slow server cannot hide its delay by slowing the generator down.
//
// Throughput counts what was answered within the measured time; what was still
// under way at its end is waited for and counted among statuses and latencies.
//
// It refuses hosts other than this machine unless it is told that the caller
// answers for them, and checks the address of each connection again.
package load
