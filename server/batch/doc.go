// Package batch is the queue between requests and the engine. It knows tokens,
// deadlines and fairness; it knows neither HTTP nor models.
//
// Reward clients send one answer a request, each on a connection of its own, so
// batches form here, across requests. One goroutine, the [Queue]'s own, takes
// what waits, packs it into a batch of at most a budget of tokens and calls the
// [Scorer]. There is no timer: an idle engine starts on the first sequence that
// comes, and while it is busy the next ones gather. A batch is packed and not
// padded, so its cost is its tokens, and the budget counts them.
//
// A batch belongs to one [Lane]: one scorer, such as the weight average of one
// model. Lanes take turns, a batch each, so that a model with a deep queue does
// not hold up another. Once a sequence has waited for Config.Patience, the
// longest wait goes first whatever its lane: under a load that the engine cannot
// carry, age decides, and no lane expires while another is fresh.
//
// Within a lane the oldest sequence always is in the next batch. The room left
// over goes to the oldest of those behind it that still fit: short answers fill the
// gaps beside long ones, and nothing waits for more batches than there were
// sequences before it.
//
// A sequence whose caller has gone is dropped before it is computed. What would
// take the queue over Config.MaxQueuedTokens is refused at once ([ErrOverloaded]),
// and what waited for Config.MaxWait is given up ([ErrExpired]): a client learns
// soon that it should try elsewhere. A scorer that returns an error or panics
// fails the requests of that batch alone.
package batch
