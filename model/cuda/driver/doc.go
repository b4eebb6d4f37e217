// Package driver calls NVIDIA's driver, libcuda.so.1, without cgo and without a CUDA
// toolkit: a [Card] is memory, kernels, graphs and times of one card. It knows neither
// networks nor processes; package cuda runs models on what it offers, and package worker
// gives each card a process of its own.
//
// The library is looked for when the first card is counted or opened, never before, so a
// machine without one runs everything else. Builds for other systems than Linux on amd64
// and arm64, and those with the tag nocuda (which leaves a static binary), have the same
// functions; there [Open] and [Count] say that the build has no CUDA.
//
// # Errors
//
// A status of the driver is an [Error] with the driver's own name and words for it. What a
// person can mend has a type that says how: [LibraryError], [NoCardError], [KernelError] and
// [MemoryError]. After some faults the driver refuses everything until the process ends;
// [Lost] tells which.
//
// # Order
//
// A card has one stream: what is written, launched and read happens in the order of the
// calls. The methods may be called from any goroutine; each binds its thread to the card's
// context for as long as it takes, which costs about 0.1 µs. Callers that share a card agree
// on the order among themselves.
//
// # Kernels
//
// A module is loaded when its first kernel is launched: machine code where the binary carries
// it for the card's capability and the driver takes it, else PTX, which the driver compiles, once
// for each machine: it keeps the result in ~/.nv/ComputeCache, or where CUDA_CACHE_PATH says. A
// container then needs a volume there, or it compiles for some seconds at every start. With
// WARM_CUDA_PTX set it is PTX for every card. CUDA_VISIBLE_DEVICES and
// CUDA_DEVICE_ORDER choose and number the cards, as for every program of CUDA.
package driver
