// Package corruption measures what averaging does to wrong labels: what is memorised,
// and what is left of the accuracy elsewhere.
package corruption
