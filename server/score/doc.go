// Package score answers requests for rewards with the models that are live. It is
// given decoded requests ([api.RewardRequest], [api.CompareRequest]), the models
// (package live) and the queue (package batch); it knows no protocol, no dialects
// and no metrics, which observe it.
//
// [Service.Reward] takes the instance of the model that is live at that moment,
// has its inputs prepared (template, tokeniser, truncation), which is held to
// bounds, queues them by their tokens with everyone else's, and makes the reply of
// the rewards. [Service.RewardWhenRoom] first waits, in line with others, while
// the queue is full. [Service.Compare] scores preference pairs in every way that a
// model offers. A [Call] is what such a request says of itself, and what became
// of it.
//
// What a request may come to hold is reserved before it is taken ([RequestCost]),
// and its tokens are charged to its client.
package score
