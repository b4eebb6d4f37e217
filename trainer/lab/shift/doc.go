// Package shift measures how accuracy and agreement fall as texts move away from those
// that members learned from.
package shift
