// Package server is the HTTP server: routes, limits, keys and metrics around the
// models that package live holds. It knows the wire (package api) and the queue
// (package batch); it knows models only as the interface [live.Model], so that
// neither weights, tokenisers nor templates are its business.
//
//	models := live.NewModels()
//	srv, err := server.New(server.Config{}, models)
//	_, err = models.Swap(model)
//	err = srv.Run(ctx, listener) // until ctx ends, then it drains
//
// [live.NewModel] makes a model of two functions, and package warm/serve one of
// checkpoints.
//
// A request is read whole, decompressed and decoded under limits, checked,
// given to the one revision of its model that is live at that moment, prepared
// (template, tokeniser, truncation) on its own goroutine, queued by its tokens
// with everyone else's, and answered. Its context ends when the client hangs up
// or its deadline passes, and what was not computed by then is dropped.
//
// Models change while the server serves, where it has a Config.Builder: see
// [Server.Changes]. A request is answered by one revision, which the reply names
// and which later requests may pin; the revision before is kept a while for those.
//
// The server never answers 4xx for load: a full queue, a missed deadline, a
// server that drains or has no model yet answer 503 with Retry-After.
//
// No text of a prompt or a response, no key and no path that a client made up
// reaches the log or the metrics.
package server
