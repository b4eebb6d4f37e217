// Package amd64 is the assembly of package kernel, which alone calls it: a function
// for each kernel and set of instructions. Nothing here is written by hand but the
// arguments of the tiles; the generator is model/kernel/_asm.
//
// The functions trust every length. They allocate nothing, call nothing and touch
// nothing beyond the elements that their arguments name. Strides are in bytes.
// In builds for other processors, or without assembly (noasm), the package is empty.
package amd64
