// Package ptx runs the PTX that ships, on the processor: tests run kernels and
// whole models through it where there is no card. Nothing but tests imports it.
//
// A [Module] is parsed once; a [Machine] is a card: its memory, its copy engine
// and the clusters of blocks that run on it. [Machine.Launch] runs a kernel to its end
// and returns an error that says where it went wrong: the kernel, the block, the
// warp, the lanes and the line of PTX.
//
// # How it runs
//
// A warp carries out an instruction for all its lanes at once. Lanes that branch
// apart go on as groups, of which the one furthest behind runs first, so that
// they meet again; in some warps, picked at random, groups are cut at random and
// run in random order, so that what relies on lanes staying together without
// saying so shows. Warps take turns of random length in random order, some are
// slow. Copies of the copy engine arrive late and in any order; products of
// wgmma and copies of cp.async happen as late as the wait for them allows.
// A seed fixes all of that.
//
// # What it finds
//
// Beside wrong results:
//   - registers and shared memory that are read before anything is written to
//     them, and global memory that nobody ever wrote (ld; the copy engine may,
//     as it takes whole boxes)
//   - accesses out of bounds, misaligned, or to memory that was freed
//   - races in shared memory, whatever the schedule: each word knows who wrote
//     and read it, and each warp knows what barriers have told it of the others
//     (vector clocks). This includes stages given back too early, barriers whose
//     parity is a phase off, and copies that are not waited for
//   - stores to shared memory that the copy engine or wgmma reads without
//     fence.proxy.async, registers that wgmma reads without wgmma.fence, and
//     results that are read before wgmma has made them
//   - races in global memory between the blocks of a launch, between the warps of a
//     block (of reads, the last alone is remembered), and with the launches before
//     where griddepcontrol lets them overlap
//   - barriers that get more arrivals than they expect, new ones that are not fenced
//     for the copy engine, blocks that end before others are done with their shared
//     memory, and deadlocks, of registers as well, with a report of where warps stand
//
// # What it cannot show
//
// Speed, the last bits of approximate functions (ex2, rcp, rsqrt: computed here
// in float64 and rounded), the order of sums inside one tensor instruction, and
// what ptxas makes of a program. Memory is sequential: scopes and orders of fences
// and of loads and stores mean nothing, nor does fence.proxy.tensormap. Clusters
// run one after the other, so blocks must not wait for blocks of another. Races
// between lanes of one warp show by their results alone, in warps whose lanes run
// apart; a word is four bytes in shared memory and two in global memory. What
// overruns a part of an allocation into another part of it is seen by its results.
//
// # Addresses
//
// Global memory starts at 1<<44, generic addresses of shared memory at 1<<40, of
// local memory at 1<<41; variables of a module lie at 1<<42 and cannot be written.
// Allocations lie apart with gaps between them, and no address is used twice.
//
// Source: the PTX ISA, version 8.3, and its memory model.
package ptx
