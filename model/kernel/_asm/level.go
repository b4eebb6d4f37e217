package main

// level is a set of instructions that functions are written for.
type level struct {
	name string // the end of the functions' names
	has  string // whether the level in use has them, in the words of package kernel
}

// levels are all of them, best first: of the functions of a kernel the dispatch
// calls the first whose instructions are there. A new level is a line here and its
// detection in package kernel, level.go; every kernel without a function for it goes
// on with the next best.
var levels = []level{
	{"AMXFloat32", "active.level >= AMXFloat32"},
	{"AMX", "active.level >= AMX"},
	{"AVX512BF16Dot", "active.level >= AVX512BF16"},
	{"AVX512BF16", "active.bf16"},
	{"AVX512VNNI", "active.vnni"},
	{"AVX512", "active.level >= AVX512"},
	{"AVXVNNI", "active.avxVNNI"},
	{"AVX2", "active.level >= AVX2"},
}
