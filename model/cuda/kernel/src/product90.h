// C[M,N] = epilogue(A[M,K]·W[N,K]ᵀ) for Hopper: one warp loads with the copy engine, one
// stores with it (and fetches what a residual adds to), two warpgroups multiply. Blocks
// stay and take tile after tile, so that results leave while the next tile is made. The
// order of K is the same in all tiles: a row of C depends on its row of A alone.
//
// Narrow tiles are for few rows: one warpgroup multiplies and stores its results itself, and
// a block leaves room for that of the next kernel, whose weights come while this one ends.
//
// Rows behind M up to the end of a tile become zeros, except where the matrix starts at a
// row of its own (From), for there others' rows follow, and in narrow tiles.
//
// NORMED products read rows that were not normalised: weights have the norm's own, and a row of
// C is divided by the root mean square of its row of A. RESIDUAL leaves sums of squares of what it
// stores, of every 32 columns, which others read (Scales). The order of all these sums is one in
// all tiles, too.
//
// With E4M3 values are of that: two stand for each bfloat16. Tensor cores keep fewer bits of
// its sums than float32 has, so those of a stage's 128 values are added up in registers, for
// which tiles of 256 columns leave none.
#pragma once
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
#ifdef NORMED
static constexpr bool NORMS = true;
#else
static constexpr bool NORMS = false;
#endif
#define METHOD __attribute__((device)) __attribute__((always_inline)) inline

template <int CL> DEV void release(u32 barrier, int lane) { // in every block that filled the stage
  if constexpr (CL > 1) { if (lane < CL) barrier_arrive(barrier, (u32)lane); }
  else { if (lane == 0) barrier_arrive(barrier); }
}

// BN columns of a tile, ST stages of the ring, CL blocks that share weights, G warpgroups
// that have 64 rows of a tile each. With PP two warpgroups take turns at whole tiles of 128 rows:
// what becomes of one's results, which of gates is much, meets the other's products.
template <int BN, int ST, int CL, int EPI, int G, bool PP> struct Multiply {
  static_assert(!PP || (EPI == GATED && G == 2 && !EIGHT));
  static constexpr u32 ABYTES = G * 64 * 128, BBYTES = BN * 128, STAGE = ABYTES + BBYTES;
  static constexpr bool NARROW = G == 1;
  static constexpr int OUT = EPI == GATED ? BN / 2 : BN; // columns that leave
  static constexpr int BOXES = OUT < 64 ? 1 : (OUT + 63) / 64;
  static constexpr int R = PP ? 2 : 1;    // blocks of 64 rows of a warpgroup
  static constexpr int HIGH = PP ? 0 : 64; // rows from one warpgroup to the other
  static constexpr u32 BOX = R * 64 * 128, RESULTS = NARROW ? 0 : BOX * BOXES; // of a warpgroup
  static constexpr int TOGETHER = 16 / CL; // rows of tiles, while weights stay in L2
  static constexpr bool LEAVES = NORMS && EPI == RESIDUAL, DIVIDES = NORMS && EPI != RESIDUAL;

  const Product &p;
  const u32 rank, base, results, full, empty, turn, ready, clear, known, used, factors;
  int m, from, nt, mt, tiles, ks, first, step;

  METHOD Multiply(const Product &p, u32 base, u32 rank)
      : p(p), rank(rank), base(base), results(base + ST * STAGE), full(results + G * RESULTS),
        empty(full + 8 * ST), turn(empty + 8 * ST), ready(turn + 16), clear(ready + 16), known(clear + 16),
        used(known + 16), factors(used + 16) {}

  METHOD void prepare(int t) {
    if (t == 0) {
      UNROLL for (int s = 0; s < ST; s++) {
        barrier_init(full + 8 * s, 1);
        barrier_init(empty + 8 * s, (PP ? 4 : 4 * G) * CL);
      }
      UNROLL for (int w = 0; w < (NARROW ? 0 : G); w++) {
        if (PP) barrier_init(turn + 8 * w, 4);
        barrier_init(ready + 8 * w, 128); // results lie in shared memory
        barrier_init(clear + 8 * w, 1);   // they have left, or what they add to has come
      }
      if constexpr (DIVIDES) {
        UNROLL for (int i = 0; i < 2; i++) {
          barrier_init(known + 8 * i, 64); // the factors of a tile's rows
          barrier_init(used + 8 * i, PP ? 4 : 4 * G);
        }
      }
      barrier_init_done();
    }
    if (t == 0 || t == 32) {
      map_acquire(p.amap);
      map_acquire(p.wmap);
      if (!NARROW) map_acquire(p.cmap);
      if (!NARROW && EPI == RESIDUAL) map_acquire(p.rmap);
    }
    if constexpr (CL > 1) cluster_sync();
    else sync();
    let_next_start();
    if (part()) await_last(); // a kernel wrote how many rows there are
    m = p.header[p.at];
    from = part() ? p.header[p.from] : 0;
    nt = (p.n + BN - 1) / BN;
    mt = (m + 64 * G * CL - 1) / (64 * G * CL);
    tiles = nt * mt;
    ks = (p.k + 63) / 64;
    first = bid() / CL;
    step = grid() / CL;
  }

  METHOD bool part() const { return EPI != HEADS && p.from >= 0; } // of the rows

  METHOD void place(int tile, int &x, int &y) const { // the first column and row
    int g0 = tile / (TOGETHER * nt) * TOGETHER, gs = mt - g0 < TOGETHER ? mt - g0 : TOGETHER;
    int in = tile - g0 * nt;
    y = ((g0 + in % gs) * CL + (int)rank) * 64 * G;
    x = in / gs * BN;
  }

  METHOD void load() const { // one thread
    // Weights of the first stages come while the kernel ahead still makes A.
    int ahead = part() || first >= tiles ? 0 : ks < ST ? ks : ST;
    for (int k = 0; k < ahead; k++) load_weights(first, k, k);
    await_last();
    int s = 0;
    u32 phase = 1;
    for (int tile = first; tile < tiles; tile += step) {
      int x, y;
      place(tile, x, y);
      for (int k = 0; k < ks; k++) {
        barrier_wait(empty + 8 * s, phase);
        if (ahead > 0) ahead--;
        else load_weights(tile, k, s);
        box_load(base + s * STAGE, p.amap, full + 8 * s, k * 64, from + y);
        if (++s == ST) s = 0, phase ^= 1;
      }
    }
  }

  METHOD void load_weights(int tile, int k, int s) const { // and expects what else a stage is to have
    int x, y;
    place(tile, x, y);
    const u32 to = base + s * STAGE + ABYTES, come = full + 8 * s;
    barrier_expect(come, STAGE);
    if constexpr (CL > 1)
      box_load(to + rank * (BBYTES / CL), p.wmap, come, k * 64, x + (int)rank * (BN / CL), (1 << CL) - 1);
    else box_load(to, p.wmap, come, k * 64, x);
  }

  // Makes the factors of tiles' rows: two warps, while the others multiply.
  METHOD void norm(int t) const {
    const int parts = p.k / 128; // sums at a time
    await_last();
    int i = 0;
    for (int tile = first; tile < tiles; tile += step, i++) {
      int x, y;
      place(tile, x, y);
      const u32 slot = i & 1;
      barrier_wait(used + 8 * slot, (i >> 1 & 1) ^ 1);
      ROLLED for (int w = 0; w < G; w++) {
        const int row = y + 64 * w + t;
        const U4 *sums = (const U4 *)p.scales + (u64)(from + (row < m ? row : m - 1)) * parts;
        float a = 0, b = 0, c = 0, d = 0;
        ROLLED for (int j = 0; j < parts; j += 4) {
          U4 v[4]; // on their way at a time
          UNROLL for (int l = 0; l < 4; l++) v[l] = j + l < parts ? load16(sums + j + l) : U4{0, 0, 0, 0};
          UNROLL for (int l = 0; l < 4; l++) {
            a += floatof(v[l].x), b += floatof(v[l].y);
            c += floatof(v[l].z), d += floatof(v[l].w);
          }
        }
        const float mean = fma(a + b + (c + d), 1.0f / (float)p.k, p.floor);
        store_shared(factors + 512 * slot + 4 * (64 * w + t), rsqrtnear(mean));
      }
      barrier_arrive(known + 8 * slot);
    }
  }

  METHOD void fetch(int tile, int w) const { // what warpgroup w adds to
    int x, y;
    place(tile, x, y);
    barrier_expect(clear + 8 * w, RESULTS);
    UNROLL for (int b = 0; b < BOXES; b++)
      box_load(results + w * RESULTS + b * BOX, p.rmap, clear + 8 * w, x + 64 * b, from + y + HIGH * w);
  }

  // The column of a tile's results at which a box begins: the last ends with the tile, though
  // it may have columns of the one before.
  static METHOD int column(int box) { return OUT > 64 && 64 * box > OUT - 64 ? OUT - 64 : 64 * box; }

  // Stores rows of a warpgroup's results, as many as there are, by the lanes of a warp.
  METHOD void store_rows(int w, int x, int y, int lane) const {
    const int rows = m - y < R * 64 ? m - y : R * 64, cols = EPI == GATED ? p.n / 2 : p.n;
    for (int i = lane; i < rows * (OUT / 8); i += 32) {
      int r = i / (OUT / 8), c = i % (OUT / 8), box = c >> 3;
      if (x + 8 * c >= cols) continue;
      const int in = c - column(box) / 8;
      U4 v = load_shared16(results + w * RESULTS + box * BOX + r * 128 + (((in ^ r) & 7) << 4));
      store16((bf16 *)p.c + (u64)(from + y + r) * p.ldc + x + 8 * c, v);
    }
  }

  METHOD void store(int lane) const { // a warp
    await_last();
    if (EPI == RESIDUAL && lane == 0 && first < tiles) {
      UNROLL for (int w = 0; w < G; w++) fetch(first, w);
    }
    u32 phase = 0;
    int i = 0;
    for (int tile = first; tile < tiles; tile += step, i++) {
      int x, y;
      place(tile, x, y);
      if (EPI == GATED) x /= 2;
      UNROLL for (int w = 0; w < G; w++) {
        if (PP && w != (i & 1)) continue;
        barrier_wait(ready + 8 * w, phase);
        const int row = y + HIGH * w;
        if (EPI != HEADS && (OUT < 64 || (part() && row + R * 64 > m))) store_rows(w, x, row, lane);
        else if (lane == 0) {
          UNROLL for (int b = 0; b < BOXES; b++)
            box_store(p.cmap, results + w * RESULTS + b * BOX, x + column(b), from + row);
        }
      }
      boxes_read();
      warp_sync();
      UNROLL for (int w = 0; w < G; w++) {
        if ((PP && w != (i & 1)) || lane != 0) continue;
        if (EPI != RESIDUAL) barrier_arrive(clear + 8 * w);
        else if (tile + step < tiles) fetch(tile + step, w);
      }
      if (!PP || (i & 1)) phase ^= 1;
    }
  }

  // Sums of squares of the columns of a row, of 32 of which a quad of lanes has all, and of those of
  // the row 8 below.
  static METHOD float add_squares(float s, u32 v) { return fma(high(v), high(v), fma(low(v), low(v), s)); }
  METHOD void leave(float (&s)[2], int x, int row, int q) const {
    UNROLL for (int h = 0; h < 2; h++) {
      s[h] += swap(s[h], 1);
      s[h] += swap(s[h], 2);
      if (q == 0 && row + 8 * h < m && x < p.n)
        ((float *)p.scales)[(u64)(from + row + 8 * h) * (p.n / 32) + x / 32] = s[h];
      s[h] = 0;
    }
  }

  // Puts results of 64 rows as pairs where the copy engine takes them from; x and y are the columns'
  // and the lane's first.
  METHOD void put(float (&d)[BN / 2], int w, int r, int t, int x, int y, bool ok0, bool ok1) const {
    const int lane = t & 31, row = r * 64 + (t >> 5 & 3) * 16 + (lane & 15);
    const u32 to = results + w * RESULTS + row * 128;
    float squares[2] = {0, 0};
    UNROLL for (int j = 0; j < OUT / 8; j += 2) {
      u32 v[4]; // columns 8j.. of a row, of the row 8 below; columns 8j+8.. of the same
      UNROLL for (int i = 0; i < 2; i++) {
        const float *e = d + (EPI == GATED ? 8 : 4) * (j + i);
        v[2 * i] = pair(e[0], e[1]);
        v[2 * i + 1] = pair(e[2], e[3]);
      }
      if (!ok0) v[0] = v[2] = 0;
      if (!ok1) v[1] = v[3] = 0;
      UNROLL for (int b = 0; b < BOXES; b++) { // in two boxes, where they share columns
        const int c = j - column(b) / 8;
        if (c < 0 || c >= 8) continue;
        const u32 at = to + b * BOX + (((c + (lane >> 4) ^ row) & 7) << 4);
        if constexpr (EPI == RESIDUAL) {
          u32 o[4];
          matrix_load(o, at);
          UNROLL for (int i = 0; i < 4; i++) v[i] = pair(low(v[i]) + low(o[i]), high(v[i]) + high(o[i]));
          if constexpr (LEAVES) {
            UNROLL for (int i = 0; i < 4; i++) squares[i & 1] = add_squares(squares[i & 1], v[i]);
            if (j % 4 == 2) leave(squares, x + 8 * (j - 2), y, lane & 3);
          }
          if (!ok0) v[0] = v[2] = 0;
          if (!ok1) v[1] = v[3] = 0;
        }
        matrix_store(at, v[0], v[1], v[2], v[3]);
      }
    }
  }

  // Of a narrow tile the results go to memory from the registers: what they add to is there. Eight
  // columns of every 32 are a lane's.
  static constexpr int PARTS = (OUT + 31) / 32;
  METHOD bf16 *target(const void *to, int ld, int row, int x, int i, int q) const {
    return (bf16 *)to + (u64)(from + row) * ld + (EPI == GATED ? x / 2 : x) + 32 * i + 8 * q;
  }
  METHOD bool there(int row, int x, int i, int q) const {
    return row < m && x + (EPI == GATED ? 2 : 1) * (32 * i + 8 * q) < p.n;
  }
  METHOD void fetch(U4 (&add)[2][PARTS], int row, int x, int q) const {
    UNROLL for (int h = 0; h < 2; h++) {
      UNROLL for (int i = 0; i < PARTS; i++) {
        add[h][i] = {0, 0, 0, 0};
        if (there(row + 8 * h, x, i, q)) add[h][i] = load16(target(p.r, p.ldr, row + 8 * h, x, i, q));
      }
    }
  }
  METHOD void put(float (&d)[BN / 2], const U4 (&add)[2][PARTS], int row, int x, int q) const {
    float squares[PARTS][2] = {};
    UNROLL for (int h = 0; h < 2; h++) {
      UNROLL for (int i = 0; i < PARTS; i++) {
        u32 v[4];
        UNROLL for (int c = 0; c < 4; c++) {
          const float *e = d + (EPI == GATED ? 8 : 4) * (4 * i + c) + 2 * h;
          v[c] = pair(e[0], e[1]);
        }
        if constexpr (!LEAVES) transpose4(v, q);
        if constexpr (EPI == RESIDUAL) {
          u32 o[4] = {add[h][i].x, add[h][i].y, add[h][i].z, add[h][i].w};
          if constexpr (LEAVES) transpose4(o, q);
          UNROLL for (int c = 0; c < 4; c++) v[c] = pair(low(v[c]) + low(o[c]), high(v[c]) + high(o[c]));
        }
        if constexpr (LEAVES) {
          UNROLL for (int c = 0; c < 4; c++) squares[i][h] = add_squares(squares[i][h], v[c]);
          transpose4(v, q);
        }
        if (there(row + 8 * h, x, i, q))
          store16(target(p.c, p.ldc, row + 8 * h, x, i, q), U4{v[0], v[1], v[2], v[3]});
      }
    }
    if constexpr (LEAVES) {
      UNROLL for (int i = 0; i < PARTS; i++) leave(squares[i], x + 32 * i, row, q);
    }
  }

  METHOD void multiply(int t) const { // a warpgroup
    const int w = (t >> 7) - 1, lane = t & 31, q = lane & 3;
    int s = 0;
    u32 phase = 0, tphase = 0, cphase = EPI == RESIDUAL ? 0 : 1;
    if (PP && w) s = ks % ST, phase = ks / ST & 1;
    float d[R][BN / 2], sums[EIGHT ? BN / 2 : 1]; // of e4m3 those of a stage
    if constexpr (EIGHT) {
      UNROLL for (int i = 0; i < BN / 2; i++) sums[i] = 0;
    }
    if (EIGHT || NARROW || LEAVES) await_last(); // before what is read and stored without the copy engine
    int i = PP ? w : 0; // the tile's number
    const int apart = PP ? 2 : 1; // its tiles
    for (int tile = first + (PP ? w * step : 0); tile < tiles; tile += apart * step, i += apart) {
      int x, y, last = -1;
      place(tile, x, y);
      if (PP && (w || tile != first)) { // else it could be a phase of the stages too early
        barrier_wait(turn + 8 * w, tphase);
        tphase ^= 1;
      }
      UNROLL for (int r = 0; r < R; r++) {
        UNROLL for (int i = 0; i < BN / 2; i++) d[r][i] = 0; // unset registers make ptxas serialise wgmma
      }
      const int row = y + HIGH * w + (t >> 5 & 3) * 16 + (lane >> 2);
      const bool turned = EPI == HEADS && x / HEAD < p.qheads + p.kheads;
      U4 turns[2][HEAD / 32], add[2][PARTS]; // on their way while the product is made
      if constexpr (EPI == HEADS) {
        UNROLL for (int h = 0; h < 2; h++) {
          const int pos = load1(p.pos + (row + 8 * h < m ? row + 8 * h : m - 1));
          if constexpr (NORMS) { // which the compiler converts early, whether they are used or not
            UNROLL for (int i = 0; i < HEAD / 32; i++) turns[h][i] = {0, 0, 0, 0};
          }
          if (turned) turns_of<HEAD>(turns[h], p, pos, q);
        }
      }
      if constexpr (NARROW && EPI == RESIDUAL) fetch(add, row, x, q);
      float scales[2];
      if constexpr (EIGHT) {
        UNROLL for (int h = 0; h < 2; h++)
          scales[h] = scale_of_row(p, from + (row + 8 * h < m ? row + 8 * h : m - 1));
      }
      for (int k = 0; k < ks; k++) {
        barrier_wait(full + 8 * s, phase);
        if (PP && k == ks - 1 && lane == 0) barrier_arrive(turn + 8 * (w ^ 1));
        const u64 a = along_k(base + s * STAGE + HIGH * 128 * w), b = along_k(base + s * STAGE + ABYTES);
        wgmma_fence();
        if constexpr (EIGHT) {
          UNROLL for (int i = 0; i < 8; i += 2) wgmma_e4m3(sums, a + i, b + i, i > 0);
          wgmma_commit();
          wgmma_wait<0>();
          release<CL>(empty + 8 * s, lane);
          UNROLL for (int i = 0; i < BN / 2; i++) {
            asm volatile("" : "+f"(sums[i])); // not before the wait
            d[0][i] += sums[i];
          }
          if (++s == ST) s = 0, phase ^= 1;
          continue;
        } else {
          UNROLL for (int i = 0; i < 8; i += 2) {
            UNROLL for (int r = 0; r < R; r++) wgmma(d[r], a + r * (8192 >> 4) + i, b + i, 1);
          }
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
      if (EPI == RESIDUAL && !NARROW) barrier_wait(clear + 8 * w, cphase), cphase ^= 1;
      UNROLL for (int r = 0; r < R; r++) {
        if constexpr (EIGHT) scale(d[r], scales, p, x, q);
        if constexpr (DIVIDES) {
          if (r == 0) barrier_wait(known + 8 * (i & 1), i >> 1 & 1);
          const u32 at = factors + 512 * (i & 1) + 4 * (row - y + 64 * r);
          const float by[2] = {load_shared(at), load_shared(at + 32)};
          UNROLL for (int c = 0; c < BN / 2; c++) d[r][c] *= by[c >> 1 & 1];
          warp_sync();
          if (r == R - 1 && lane == 0) barrier_arrive(used + 8 * (i & 1));
        }
        add_bias(d[r], p.bias, x, p.n, q);
        if constexpr (EPI == STORE) activate(d[r], p.act);
        if constexpr (EPI == GATED) gate(d[r], p.act);
        if constexpr (EPI == HEADS) heads<HEAD, BN / HEAD>(d[r], p, x / HEAD, turns, q);
        if constexpr (NARROW) {
          put(d[r], add, row, x, q);
          continue;
        }
        if (EPI != RESIDUAL && r == 0) barrier_wait(clear + 8 * w, cphase), cphase ^= 1;
        put(d[r], w, r, t, x, row + 64 * r, row + 64 * r < m, row + 64 * r + 8 < m);
      }
      if constexpr (NARROW) continue;
      proxy_fence();
      barrier_arrive(ready + 8 * w);
    }
  }

  METHOD void run() {
    const int t = tid();
    prepare(t);
    if (t < 128) {
      if constexpr (!NARROW) registers_less<EPI == HEADS && !NORMS ? 24 : 40>();
      if (t == 0) load();
      else if (!NARROW && t >= 32 && t < 64) store(t & 31);
      else if (DIVIDES && t >= 64) norm(t - 64);
    } else {
      if constexpr (!NARROW) registers_more<EPI == HEADS && !NORMS ? 240 : 232>();
      multiply(t);
    }
    if constexpr (CL > 1) cluster_sync(); // no block leaves while another may signal it
  }
};

template <int BN, int ST, int CL, int EPI, int G, bool PP = false> DEV void product(const Product &p) {
  extern SHARED u8 raw[];
  const u32 base = (shared_address(raw) + 1023) & ~1023u;
  Multiply<BN, ST, CL, EPI, G, PP>(p, base, CL > 1 ? cluster_rank() : 0).run();
}
