// Package bestofn measures what the best of N answers is worth to a control, when a
// single reward model, an average or an ensemble picks it.
package bestofn
