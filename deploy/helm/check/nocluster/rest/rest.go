// Package rest has the type that says how a cluster is reached.
package rest

// Config is of no cluster.
type Config struct{}
