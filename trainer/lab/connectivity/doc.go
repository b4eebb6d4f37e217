// Package connectivity measures whether members may be averaged at all: accuracy and
// loss along the line between two of them, and what breaks it.
package connectivity
