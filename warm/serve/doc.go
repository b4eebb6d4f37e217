// Package serve puts reward models behind the server: it is the one room that
// knows both package reward, which loads checkpoints and scores, and package
// server, which answers HTTP and knows models only as an interface.
//
// A program that serves checkpoints starts with [New], and then [Server.Run]; one
// whose models are its own needs package server alone. An [api.ModelSpec] says
// what a model is made of: in the configuration, in a watched manifest, on the
// wire and in the state file. [Sources.Resolve] makes its paths absolute, [Check]
// says what is wrong with it, [RewardConfig] is what is loaded for it, and a
// [Model] is the outcome. A manifest is looked for, read and carried out again
// whenever it is replaced.
//
// The package knows no flags and no environment, which are the command's.
package serve
