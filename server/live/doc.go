// Package live holds the models that answer, and changes them while they do. It
// knows models only as the interface [Model], and the queue, in which a model is
// probed before it answers; it knows no protocol, no files of checkpoints and no
// metrics; of traces it knows OpenTelemetry's interface, and what exports them it does not.
//
// [Models] is what is live: a name has one [Instance], which a request holds from
// its beginning to its end, and the one before while later requests may pin it.
// [NewModel] makes a model of two functions.
//
// [Changes] is given a [Builder], which makes a model of what it is made of, and
// carries out one [Change] after the other: the model is built beside the live
// one, probed, judged by its guard, written to the state file and exchanged for
// the live one with one pointer. Whatever fails on the way leaves what was live.
// The configuration is carried out with [Changes.Start] and
// [Changes.Reconfigure], a watched manifest with [Changes.Sync], and an
// administrator's wish with [Changes.Patch].
package live
