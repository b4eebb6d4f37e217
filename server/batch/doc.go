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
// not hold up another.
//
// Within a lane the clients take turns, and of a client its requests: the next
// slice of a batch, about a thousand tokens, is for the client that was given the
// least of the lane, counted from what the least served had when it came, and for
// that client's request that was given the least. So a request of a thousand
// answers delays one of a single answer by no more than the batch that is under
// way, whoever sent them, and who sends a thousand requests has no more of the
// engine than who sends one. Answers to one prompt stay in one batch where they
// fit, as its computation is shared there. When one request waits alone, it has the whole batch.
//
// Fairness alone would let a stream of newcomers starve a large request. So the
// oldest sequence of a lane always is in its next batch, and once it has waited
// for Config.Patience, age decides half of every batch and every second of the
// lanes' turns: under a load that the engine cannot carry nothing expires while
// everything else is fresh. The room left over goes to those that still fit:
// short answers fill the gaps beside long ones.
//
// A sequence whose caller has gone is dropped before it is computed. What would
// take the queue over Config.MaxQueuedTokens is refused at once ([ErrOverloaded]),
// and what waited for Config.MaxWait is given up ([ErrExpired]): a client learns
// soon that it should try elsewhere. A scorer that returns an error or panics
// fails the requests of that batch alone.
package batch
