// Package server is the HTTP server: routes, keys, bodies, the dialects of other
// stacks, errors and metrics. What answers is elsewhere: package live holds the
// models, package score makes a request's rewards, package batch queues them. All
// of them know models only as the interface [live.Model], so that neither weights,
// tokenisers nor templates are their business.
//
//	models := live.NewModels()
//	srv, err := server.New(server.Config{}, models)
//	_, err = models.Swap(model)
//	err = srv.Run(ctx, listener) // until ctx ends, then it drains
//
// [live.NewModel] makes a model of two functions, and package warm/serve one of
// checkpoints.
//
// A request is read whole, decompressed and decoded under limits, turned into the
// native one where it is a dialect's, scored, and answered. Its context ends when
// the client hangs up or its deadline passes, and what was not computed by then is
// dropped.
//
// Models change while the server serves, where it has a Config.Builder: see
// [Server.Changes]. A request is answered by one revision, which the reply names
// and which later requests may pin; the revision before is kept a while for those.
//
// The server never answers 4xx because it is busy: a full queue, a missed deadline, a
// server that drains or has no model yet answer 503 with Retry-After.
//
// No text of a prompt or a response, no key and no path that a client made up
// reaches the log or the metrics.
package server
