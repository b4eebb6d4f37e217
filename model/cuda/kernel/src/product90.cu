// C[M,N] = epilogue(A[M,K]·W[N,K]ᵀ) for Hopper: one warp loads with the copy engine, one
// stores with it (and fetches what a residual adds to), two warpgroups multiply. Blocks
// stay and take tile after tile, so that results leave while the next tile is made. The
// order of K is the same in all tiles: a row of C depends on its row of A alone.
//
// Rows behind M up to the end of a tile become zeros, except where the matrix starts at a
// row of its own (From): there others' rows follow.
//
// With E4M3 values are of that: two stand for each bfloat16. Tensor cores keep fewer bits of
// its sums than float32 has, so those of a stage's 128 values are added up in registers, for
// which tiles of 256 columns leave none.
#include "epilogue.h"

enum { STORE, RESIDUAL, GATED, HEADS };
#ifndef HEAD
#define HEAD 128 // columns of a head
#endif
#ifdef E4M3
static constexpr bool EIGHT = true;
#else
static constexpr bool EIGHT = false;
#endif
#define METHOD __attribute__((device)) __attribute__((always_inline)) inline

template <int CL> DEV void release(u32 barrier, int lane) { // in every block that filled the stage
  if constexpr (CL > 1) { if (lane < CL) barrier_arrive(barrier, (u32)lane); }
  else { if (lane == 0) barrier_arrive(barrier); }
}

// BN columns of a tile, ST stages of the ring, CL blocks that share weights. With PP the
// two warpgroups take turns at whole tiles of 128 rows, else each has half of every tile.
template <int BN, int ST, int CL, int EPI, bool PP> struct Multiply {
  static constexpr u32 ABYTES = 128 * 128, BBYTES = BN * 128, STAGE = ABYTES + BBYTES;
  static constexpr int R = PP ? 2 : 1;                   // blocks of 64 rows of a warpgroup
  static constexpr int HIGH = PP ? 0 : 64;               // rows from one warpgroup to the other
  static constexpr int OUT = EPI == GATED ? BN / 2 : BN; // columns that leave
  static constexpr int BOXES = OUT < 64 ? 1 : OUT / 64;
  static constexpr u32 BOX = R * 64 * 128, RESULTS = BOX * BOXES; // of a warpgroup
  static constexpr int G = 16 / CL; // rows of tiles that go together, while weights stay in L2

  const Product &p;
  const u32 rank, base, results, full, empty, turn, ready, clear;
  int m, from, nt, mt, tiles, ks, first, step;

  METHOD Multiply(const Product &p, u32 base, u32 rank)
      : p(p), rank(rank), base(base), results(base + ST * STAGE), full(results + 2 * RESULTS),
        empty(full + 8 * ST), turn(empty + 8 * ST), ready(turn + 16), clear(ready + 16) {}

  METHOD void prepare(int t) {
    if (t == 0) {
      UNROLL for (int s = 0; s < ST; s++) {
        barrier_init(full + 8 * s, 1);
        barrier_init(empty + 8 * s, (PP ? 4 : 8) * CL);
      }
      UNROLL for (int w = 0; w < 2; w++) {
        barrier_init(turn + 8 * w, 4);
        barrier_init(ready + 8 * w, 128); // results lie in shared memory
        barrier_init(clear + 8 * w, 1);   // they have left, or what they add to has come
      }
      barrier_init_done();
    }
    if (t == 0 || t == 32) {
      map_acquire(p.amap);
      map_acquire(p.wmap);
      map_acquire(p.cmap);
      if (EPI == RESIDUAL) map_acquire(p.rmap);
    }
    if constexpr (CL > 1) cluster_sync();
    else sync();
    follow();
    m = p.header[p.at];
    from = EPI == HEADS || p.from < 0 ? 0 : p.header[p.from];
    nt = (p.n + BN - 1) / BN;
    mt = (m + 128 * CL - 1) / (128 * CL);
    tiles = nt * mt;
    ks = (p.k + 63) / 64;
    first = bid() / CL;
    step = grid() / CL;
  }

  METHOD void place(int tile, int &x, int &y) const { // the first column and row
    int g0 = tile / (G * nt) * G, gs = mt - g0 < G ? mt - g0 : G, in = tile - g0 * nt;
    y = ((g0 + in % gs) * CL + (int)rank) * 128;
    x = in / gs * BN;
  }

  METHOD void load() const { // one thread
    int s = 0;
    u32 phase = 1;
    for (int tile = first; tile < tiles; tile += step) {
      int x, y;
      place(tile, x, y);
      for (int k = 0; k < ks; k++) {
        barrier_wait(empty + 8 * s, phase);
        const u32 a = base + s * STAGE, b = a + ABYTES, come = full + 8 * s;
        barrier_expect(come, STAGE);
        box_load(a, p.amap, come, k * 64, from + y);
        if constexpr (CL > 1)
          box_load(b + rank * (BBYTES / CL), p.wmap, come, k * 64, x + (int)rank * (BN / CL), (1 << CL) - 1);
        else box_load(b, p.wmap, come, k * 64, x);
        if (++s == ST) s = 0, phase ^= 1;
      }
    }
  }

  METHOD void fetch(int tile, int w) const { // what warpgroup w adds to
    int x, y;
    place(tile, x, y);
    barrier_expect(clear + 8 * w, RESULTS);
    UNROLL for (int b = 0; b < BOXES; b++)
      box_load(results + w * RESULTS + b * BOX, p.rmap, clear + 8 * w, x + 64 * b, from + y + HIGH * w);
  }

  // Stores rows of a warpgroup's results, as many as there are, by the lanes of a warp.
  METHOD void store_rows(int w, int x, int y, int lane) const {
    const int rows = m - y < R * 64 ? m - y : R * 64, cols = EPI == GATED ? p.n / 2 : p.n;
    for (int i = lane; i < rows * (OUT / 8); i += 32) {
      int r = i / (OUT / 8), c = i % (OUT / 8);
      if (x + 8 * c >= cols) continue;
      U4 v = load_shared16(results + w * RESULTS + (c >> 3) * BOX + r * 128 + (((c ^ r) & 7) << 4));
      store16((bf16 *)p.c + (u64)(from + y + r) * p.ldc + x + 8 * c, v);
    }
  }

  METHOD void store(int lane) const { // a warp
    if (EPI == RESIDUAL && lane == 0 && first < tiles) {
      fetch(first, 0);
      if (!PP) fetch(first, 1);
    }
    u32 phase = 0;
    int i = 0;
    for (int tile = first; tile < tiles; tile += step, i++) {
      const bool more = tile + step < tiles;
      int x, y;
      place(tile, x, y);
      if (EPI == GATED) x /= 2;
      if (EPI == RESIDUAL && PP && lane == 0 && more) fetch(tile + step, ~i & 1);
      UNROLL for (int w = 0; w < 2; w++) {
        if (PP && w != (i & 1)) continue;
        barrier_wait(ready + 8 * w, phase);
        const int row = y + HIGH * w;
        if (EPI != HEADS && (OUT < 64 || (p.from >= 0 && row + R * 64 > m))) store_rows(w, x, row, lane);
        else if (lane == 0) {
          UNROLL for (int b = 0; b < BOXES; b++)
            box_store(p.cmap, results + w * RESULTS + b * BOX, x + 64 * b, from + row);
        }
      }
      boxes_read();
      warp_sync();
      UNROLL for (int w = 0; w < 2; w++) {
        if ((PP && w != (i & 1)) || lane != 0) continue;
        if (EPI != RESIDUAL) barrier_arrive(clear + 8 * w);
        else if (!PP && more) fetch(tile + step, w);
      }
      if (!PP || (i & 1)) phase ^= 1;
    }
  }

  // Puts results of 64 rows as pairs where the copy engine takes them from.
  METHOD void put(float (&d)[BN / 2], int w, int r, int t, bool ok0, bool ok1) const {
    const int lane = t & 31, row = r * 64 + (t >> 5 & 3) * 16 + (lane & 15);
    const u32 to = results + w * RESULTS + row * 128;
    UNROLL for (int j = 0; j < OUT / 8; j += 2) {
      u32 v[4]; // columns 8j.. of a row, of the row 8 below; columns 8j+8.. of the same
      UNROLL for (int i = 0; i < 2; i++) {
        const float *e = d + (EPI == GATED ? 8 : 4) * (j + i);
        v[2 * i] = pair(e[0], e[1]);
        v[2 * i + 1] = pair(e[2], e[3]);
      }
      const int c = j + (lane >> 4);
      const u32 at = to + (c >> 3) * BOX + (((c ^ row) & 7) << 4);
      if constexpr (EPI == RESIDUAL) {
        u32 o[4];
        matrix_load(o, at);
        UNROLL for (int i = 0; i < 4; i++) v[i] = pair(low(v[i]) + low(o[i]), high(v[i]) + high(o[i]));
      }
      if (!ok0) v[0] = v[2] = 0;
      if (!ok1) v[1] = v[3] = 0;
      matrix_store(at, v[0], v[1], v[2], v[3]);
    }
  }

  METHOD void multiply(int t) const { // a warpgroup
    const int w = (t >> 7) - 1, lane = t & 31, q = lane & 3;
    int s = 0;
    u32 phase = 0, tphase = 0, cphase = EPI == RESIDUAL ? 0 : 1;
    if (PP && w) s = ks % ST, phase = ks / ST & 1;
    float d[R][BN / 2], part[EIGHT ? BN / 2 : 32]; // of e4m3 the sums of a stage
    if constexpr (EIGHT) {
      UNROLL for (int i = 0; i < BN / 2; i++) part[i] = 0;
    }
    for (int tile = first + (PP ? w * step : 0); tile < tiles; tile += PP ? 2 * step : step) {
      int x, y, last = -1;
      place(tile, x, y);
      if (PP && (w || tile != first)) { // else it could be a phase of the stages too early
        barrier_wait(turn + 8 * w, tphase);
        tphase ^= 1;
      }
      UNROLL for (int r = 0; r < R; r++) {
        UNROLL for (int i = 0; i < BN / 2; i++) d[r][i] = 0; // unset registers make ptxas serialise wgmma
      }
      const int row0 = y + HIGH * w + (t >> 5 & 3) * 16 + (lane >> 2);
      const bool turned = EPI == HEADS && x / HEAD < p.qheads + p.kheads;
      U4 turns[2][HEAD / 32]; // on their way while the product is made
      int pos[R][2];
      if constexpr (EPI == HEADS) {
        UNROLL for (int i = 0; i < 2 * R; i++) {
          int row = row0 + 64 * (i >> 1) + 8 * (i & 1);
          pos[i >> 1][i & 1] = load1(p.pos + (row < m ? row : m - 1));
        }
        if (R == 1 && turned) {
          turns_of<HEAD>(turns[0], p, pos[0][0], q);
          turns_of<HEAD>(turns[1], p, pos[0][1], q);
        }
      }
      float scales[2];
      if constexpr (EIGHT) {
        UNROLL for (int h = 0; h < 2; h++) scales[h] = scale_of_row(p, from + (row0 + 8 * h < m ? row0 + 8 * h : m - 1));
      }
      for (int k = 0; k < ks; k++) {
        barrier_wait(full + 8 * s, phase);
        if (PP && k == ks - 1 && lane == 0) barrier_arrive(turn + 8 * (w ^ 1));
        const u64 a = along_k(base + s * STAGE + HIGH * 128 * w), b = along_k(base + s * STAGE + ABYTES);
        wgmma_fence();
        if constexpr (EIGHT) {
          UNROLL for (int i = 0; i < 8; i += 2) wgmma_e4m3(part, a + i, b + i, i > 0);
          wgmma_commit();
          wgmma_wait<0>();
          release<CL>(empty + 8 * s, lane);
          UNROLL for (int i = 0; i < BN / 2; i++) {
            asm volatile("" : "+f"(part[i])); // not before the wait
            d[0][i] += part[i];
          }
          if (++s == ST) s = 0, phase ^= 1;
          continue;
        }
        UNROLL for (int i = 0; i < 8; i += 2) {
          UNROLL for (int r = 0; r < R; r++) wgmma(d[r], a + r * (8192 >> 4) + i, b + i, 1);
        }
        wgmma_commit();
        wgmma_wait<1>();
        if (last >= 0) release<CL>(empty + 8 * last, lane); // the stage before is read
        last = s;
        if (++s == ST) s = 0, phase ^= 1;
      }
      if constexpr (!EIGHT) {
        wgmma_wait<0>();
        release<CL>(empty + 8 * last, lane);
      }
      if (PP) { // the other's stages
        s += ks;
        phase ^= s / ST & 1;
        s %= ST;
      }
      if (EPI == RESIDUAL) barrier_wait(clear + 8 * w, cphase), cphase ^= 1;
      UNROLL for (int r = 0; r < R; r++) {
        const int row = row0 + 64 * r;
        if constexpr (EIGHT) scale(d[r], scales, p, x, q);
        add_bias(d[r], p.bias, x, p.n, q);
        if constexpr (EPI == STORE) activate(d[r], p.act);
        if constexpr (EPI == GATED) gate(d[r], p.act);
        if constexpr (EPI == HEADS) {
          if (R == 2 && turned) {
            turns_of<HEAD>(turns[0], p, pos[r][0], q);
            turns_of<HEAD>(turns[1], p, pos[r][1], q);
          }
          heads<HEAD, BN / HEAD>(d[r], p, x / HEAD, turns, q);
        }
        if (EPI != RESIDUAL && r == 0) barrier_wait(clear + 8 * w, cphase), cphase ^= 1;
        put(d[r], w, r, t, row < m, row + 8 < m);
      }
      proxy_fence();
      barrier_arrive(ready + 8 * w);
    }
  }

  METHOD void run() {
    const int t = tid();
    prepare(t);
    if (t < 128) {
      registers_less<EPI == HEADS ? 24 : 40>();
      if (t == 0) load();
      else if (t >= 32 && t < 64) store(t & 31);
    } else {
      registers_more<EPI == HEADS ? 240 : 232>();
      multiply(t);
    }
    if constexpr (CL > 1) cluster_sync(); // no block leaves while another may signal it
  }
};

template <int BN, int ST, int CL, int EPI, bool PP> DEV void product(const Product &p) {
  extern SHARED u8 raw[];
  Multiply<BN, ST, CL, EPI, PP>(p, (shared_address(raw) + 1023) & ~1023u, CL > 1 ? cluster_rank() : 0).run();
}

#ifdef E4M3
#define KERNELS(NAME, EPI, ST256, STP) \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_e4m3_128x1(Product p) { product<128, 6, 1, EPI, false>(p); }
#define KERNEL64(NAME, EPI) \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_e4m3_64x1(Product p) { product<64, 8, 1, EPI, false>(p); }
#else
#define KERNELS(NAME, EPI, ST256, STP)                                                                   \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_256x1(Product p) { product<256, ST256, 1, EPI, false>(p); } \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_256x2(Product p) { product<256, ST256, 2, EPI, false>(p); } \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_128x1(Product p) { product<128, 6, 1, EPI, false>(p); }     \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_p128x1(Product p) { product<128, STP, 1, EPI, true>(p); }
#define KERNEL64(NAME, EPI) \
  KERNEL BOUNDS(384, 1) void wgmma_##NAME##_64x1(Product p) { product<64, 8, 1, EPI, false>(p); }
#endif

// A module for each epilogue: a model compiles those that it needs.
#if EPILOGUE == 0
KERNELS(store, STORE, 3, 5)
KERNEL64(store, STORE)
#elif EPILOGUE == 1
KERNELS(residual, RESIDUAL, 3, 5)
KERNEL64(residual, RESIDUAL)
#elif EPILOGUE == 2
KERNELS(gated, GATED, 4, 6)
KERNEL64(gated, GATED)
#elif HEAD == 64
KERNELS(heads64, HEADS, 3, 5)
KERNEL64(heads64, HEADS)
#else
KERNELS(heads, HEADS, 3, 5) // a tile holds whole heads
#endif
