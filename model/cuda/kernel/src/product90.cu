// The products of Hopper, whose entries are the tiles of product90.h.
#include "product90.h"

// A module for each epilogue: a model compiles those that it needs. Tiles are named by their
// columns and the blocks of a cluster, p where warpgroups take turns, n where they are narrow;
// those of heads have whole heads.
#if defined E4M3
#define NUMBERS _e4m3
#elif defined NORMED
#define NUMBERS _normed
#else
#define NUMBERS
#endif
#define NAMED(NAME, NUMBERS, TILE, THREADS, ...) \
  KERNEL BOUNDS(THREADS, 1) void wgmma_##NAME##NUMBERS##_##TILE(Product p) { product<__VA_ARGS__>(p); }
#define ENTRY(...) NAMED(__VA_ARGS__)
#define WIDE(NAME, TILE, ...) ENTRY(NAME, NUMBERS, TILE, 384, __VA_ARGS__)
#define SLIM(NAME, EPI, BN, ST) ENTRY(NAME, NUMBERS, n##BN, 256, BN, ST, 1, EPI, 1)
#ifdef E4M3
#define LARGE(NAME, EPI, ST) WIDE(NAME, 128x1, 128, 6, 1, EPI, 2)
#define SMALL(NAME, EPI) WIDE(NAME, 64x1, 64, 8, 1, EPI, 2)
#define SLIMMEST(NAME, EPI, BN, ST)
#else
#define LARGE(NAME, EPI, ST)               \
  WIDE(NAME, 256x1, 256, ST, 1, EPI, 2)    \
  WIDE(NAME, 256x2, 256, ST, 2, EPI, 2)    \
  WIDE(NAME, 128x1, 128, 6, 1, EPI, 2)
#define SMALL(NAME, EPI) WIDE(NAME, 64x1, 64, 8, 1, EPI, 2) SLIM(NAME, EPI, 64, 12)
#define SLIMMEST(NAME, EPI, BN, ST) SLIM(NAME, EPI, BN, ST)
#endif

#if EPILOGUE == 0
LARGE(store, STORE, 3)
SMALL(store, STORE)
SLIMMEST(store, STORE, 32, 16)
#elif EPILOGUE == 1
LARGE(residual, RESIDUAL, 3)
SMALL(residual, RESIDUAL)
SLIMMEST(residual, RESIDUAL, 32, 16)
#elif EPILOGUE == 2
LARGE(gated, GATED, 4)
#ifndef E4M3
WIDE(gated, 192x1, 192, 4, 1, GATED, 2)
WIDE(gated, p128x1, 128, 6, 1, GATED, 2, true)
#endif
SMALL(gated, GATED)
#elif HEAD == 64
LARGE(heads64, HEADS, 3)
SMALL(heads64, HEADS)
#else
LARGE(heads, HEADS, 3)
SLIMMEST(heads, HEADS, 128, 8)
#endif
