// Package pareto measures whether one average serves two kinds of preference.
package pareto
