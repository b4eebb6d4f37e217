// Products without tensor cores: any shape, any alignment, on any card.
//
// A block of 128 threads computes tiles of 64 rows and 64 columns: a thread 8 rows of
// two pairs of columns. Each value is a sum of fused multiply-adds over ascending k, 64 of
// them at a time, whose sums are added in their order: the error of one long sum would be
// several times as large.
#include "act.h"
#include "args.h"

constexpr int TILE = 64, STEP = 16, LINE = TILE + 4; // LINE: of shared memory, for one k

// The row of W for a slot of a tile, in units of columns of C from f0 on, -1 for none.
// Gated weights have eight rows of the gate, then eight of the up projection, and so on;
// the last group is as short as F leaves it.
template <bool GATED> DEV int weight_row(int slot, int f0, int n) {
  if (!GATED) return f0 + slot < n ? f0 + slot : -1;
  int f = f0 + slot / 16 * 8 + slot % 8, width = n / 2, group = f / 8 * 8;
  if (f >= width) return -1;
  int size = width - group < 8 ? width - group : 8;
  return 2 * group + (slot & 8 ? size : 0) + f - group;
}

// eight values along k to their lines
DEV void lay(float *to, const float (&v)[8]) {
  UNROLL for (int i = 0; i < 8; i++) to[i * LINE] = v[i];
}

template <class T, bool GATED> DEV void product(const Product &p) {
  alignas(16) SHARED static float as[STEP * LINE], ws[STEP * LINE];
  constexpr int COLS = GATED ? TILE / 2 : TILE; // of C in a tile
  const int t = tid(), cols = GATED ? p.n / 2 : p.n, n = p.n, k = p.k, act = p.act;
  const int m = p.header[p.at];
  const long long first = p.from < 0 ? 0 : p.header[p.from];
  const T *a = (const T *)p.a + first * p.lda, *w = (const T *)p.w;
  const bool wide_a = wide((const T *)p.a, p.lda), wide_w = wide(w, k);
  const int rows = (m + TILE - 1) / TILE, tiles = rows * ((cols + COLS - 1) / COLS);
  const int load = t >> 1, at = (t & 1) * 8; // row of a tile that the thread reads, and where in a step
  // Of what it computes: columns x, x+1, x+8, x+9.
  const int y = t >> 4 << 3, x = (t >> 2 & 3) * 16 + (t & 3) * 2;
  for (int tile = bid(); tile < tiles; tile += grid()) {
    const int y0 = tile % rows * TILE, x0 = tile / rows * COLS;
    const int from = weight_row<GATED>(load, x0, n);
    const bool has = y0 + load < m;
    const T *pa = a + (long long)(has ? y0 + load : 0) * p.lda + at;
    const T *pw = w + (long long)(from < 0 ? 0 : from) * k + at;
    float va[8], vw[8], sum[8][4], total[8][4];
    get8(va, pa, has ? k - at : 0, wide_a);
    get8(vw, pw, from < 0 ? 0 : k - at, wide_w);
    UNROLL for (int i = 0; i < 8; i++) {
      UNROLL for (int j = 0; j < 4; j++) sum[i][j] = total[i][j] = 0;
    }
    ROLLED for (int k0 = 0; k0 < k; k0 += STEP) {
      sync(); // the step before has been read
      lay(as + at * LINE + load, va);
      lay(ws + at * LINE + load, vw);
      sync();
      const int next = k0 + STEP;
      if (next < k) {
        get8(va, pa + next, has ? k - at - next : 0, wide_a);
        get8(vw, pw + next, from < 0 ? 0 : k - at - next, wide_w);
      }
      UNROLL for (int i = 0; i < STEP; i++) {
        const F4 lo = *(const F4 *)(as + i * LINE + y), hi = *(const F4 *)(as + i * LINE + y + 4);
        const F2 u = *(const F2 *)(ws + i * LINE + x), v = *(const F2 *)(ws + i * LINE + x + 8);
        const float l[8] = {lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w};
        UNROLL for (int r = 0; r < 8; r++) {
          sum[r][0] = fma(l[r], u.x, sum[r][0]);
          sum[r][1] = fma(l[r], u.y, sum[r][1]);
          sum[r][2] = fma(l[r], v.x, sum[r][2]);
          sum[r][3] = fma(l[r], v.y, sum[r][3]);
        }
      }
      if (next % 64 != 0 && next < k) continue;
      UNROLL for (int i = 0; i < 8; i++) {
        UNROLL for (int j = 0; j < 4; j++) total[i][j] += sum[i][j], sum[i][j] = 0;
      }
    }
    T *c = (T *)p.c;
    const T *add = (const T *)p.r;
    float bias[4];
    int row[4]; // of W for the columns x, x+1, x+8, x+9
    UNROLL for (int j = 0; j < 4; j++) {
      row[j] = weight_row<GATED>(x + (j & 1) + (j >> 1) * 8, x0, n);
      bias[j] = p.bias && row[j] >= 0 ? p.bias[row[j]] : 0;
    }
    ROLLED for (int i = 0; i < 8 && y0 + y + i < m; i++) {
      const long long r = first + y0 + y + i;
      UNROLL for (int j = 0; j < (GATED ? 2 : 4); j++) {
        if (row[j] < 0) continue;
        const int col = GATED ? x0 + x / 16 * 8 + x % 8 + j : row[j];
        float v = activation(total[0][j] + bias[j], act);
        if (GATED) v *= total[0][j + 2] + bias[j + 2];
        if (add) v = rounded(c, v) + get(add + r * p.ldr + col);
        put(c + r * p.ldc + col, v);
      }
      UNROLL for (int l = 0; l < 7; l++) { // the next row, so that the functions stand here once
        UNROLL for (int j = 0; j < 4; j++) total[l][j] = total[l + 1][j];
      }
    }
  }
}

KERNEL BOUNDS(128, 3) void product_f32(Product p) { product<float, false>(p); }
KERNEL BOUNDS(128, 3) void gated_f32(Product p) { product<float, true>(p); }
KERNEL BOUNDS(128, 3) void product_bf16_simt(Product p) { product<bf16, false>(p); }
KERNEL BOUNDS(128, 3) void gated_bf16_simt(Product p) { product<bf16, true>(p); }
