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
// A run has a warm-up and then a window. Every request is counted once, by when
// its answer came: before the window, in it, or after it, where what is still
// under way is waited for, each request for at most its timeout. Throughput is
// what was answered in the window over its length, whenever it was sent: in the
// steady state of a closed loop as much is sent before the window and answered
// in it as is sent in it and answered after, so that the figure holds however
// long an answer takes. Latencies and statuses are of the same requests. An error
// in any part is a failure, and the parts together are what the server counted.
//
// The generator takes the processor from a server beside it: a report says how
// much.
//
// It refuses hosts other than this machine unless it is told that the caller
// answers for them, and checks the address of each connection again.
package load
