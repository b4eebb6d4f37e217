// Package labtest is for tests of experiments: a small lab on real data, and made-up
// measurements.
package labtest
