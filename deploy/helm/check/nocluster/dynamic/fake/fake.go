// Package fake is imported by tests of Helm's, which go mod tidy reads.
package fake
