// Package plan says what a number of replicas can do before they are bought: by arithmetic
// of measured shares of a device's peak ([Make]), and by a simulation of requests, balancer
// and queue ([Simulate]), whose batches are made by the server's own rules.
//
// It knows a model as its parameters and the operations that a sequence takes, and a device
// as its peak and what was measured of it. It measures nothing itself.
//
// Tokens of a second are as they are sent: each answer with its prompt, though the engine
// computes a prompt that a group of answers has in common once. Times are of the simulation
// and reproducible by its seed.
package plan
