// Package drawing draws figures: series over two axes or the cells of a matrix, with
// a legend and a caption, as SVG or PNG. A [Figure] is data that JSON holds. The package
// knows nothing of experiments.
package drawing
