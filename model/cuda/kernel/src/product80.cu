// C[M,N] = epilogue(A[M,K]·W[N,K]ᵀ) for cards from Ampere on: mma.sync fed by cp.async.
// Four warps have 32 rows and all 128 columns of a tile each. The order of K is fixed.
//
// With E4M3 values are of that, from Ada on: two stand for each bfloat16. Tensor cores keep
// fewer bits of its sums than float32 has, so those of 64 values are added up in registers.
#include "epilogue.h"

// Stages hold 128 rows of A and as many of W, 64 bytes of each: four chunks of 16, which
// are exchanged so that eight rows of one chunk lie in different banks.
DEV u32 chunk_at(int row, int chunk) { return row * 64 + ((chunk ^ (row >> 1 & 3)) << 4); }

// Stores pairs v[j][h] of columns 8j+2q, +1 of row + 8h, with what is added to them.
template <int N>
DEV void put(u32 (&v)[N][2], const Product &p, int from, int row, int col, int m, int n, int q, bool add) {
  UNROLL for (int h = 0; h < 2; h++) {
    const int r = row + 8 * h;
    UNROLL for (int j = 0; j < N / 4; j++) {
      u32 t[4] = {v[4 * j][h], v[4 * j + 1][h], v[4 * j + 2][h], v[4 * j + 3][h]};
      transpose4(t, q);
      const int c = col + 32 * j + 8 * q;
      if (r >= m || c >= n) continue;
      if (add) {
        U4 o = load16((const bf16 *)p.r + (u64)(from + r) * p.ldr + c);
        const u32 s[4] = {o.x, o.y, o.z, o.w};
        UNROLL for (int i = 0; i < 4; i++) t[i] = pair(low(t[i]) + low(s[i]), high(t[i]) + high(s[i]));
      }
      store16((bf16 *)p.c + (u64)(from + r) * p.ldc + c, U4{t[0], t[1], t[2], t[3]});
    }
  }
}

template <bool GATED> DEV void product(const Product &p) {
  extern SHARED u8 raw[];
  constexpr int ST = 4, STAGE = 16384, G = 16; // G rows of tiles go together, while weights stay in L2
  const u32 base = (shared_address(raw) + 127) & ~127u;
  const int t = tid(), lane = t & 31, warp = t >> 5, q = lane & 3;
  const int m = p.header[p.at], from = p.from < 0 ? 0 : p.header[p.from];
  const int nt = (p.n + 127) / 128, mt = (m + 127) / 128, ks = (p.k + 31) / 32;
  for (int tile = bid(); tile < nt * mt; tile += grid()) {
    const int g0 = tile / (G * nt) * G, gs = mt - g0 < G ? mt - g0 : G, in = tile - g0 * nt;
    const int y = (g0 + in % gs) * 128, x = in / gs * 128;
    auto load = [&](int k) __attribute__((always_inline)) { // zeros beyond the matrices
      const u32 s = base + k % ST * STAGE;
      UNROLL for (int i = 0; i < 4; i++) {
        const int r = (t >> 2) + 32 * i, c = t & 3, col = k * 32 + c * 8;
        const bool a = y + r < m && col < p.k, w = x + r < p.n && col < p.k;
        copy16(s + chunk_at(r, c), (const bf16 *)p.a + (a ? (u64)(from + y + r) * p.lda + col : 0), a);
        copy16(s + STAGE / 2 + chunk_at(r, c), (const bf16 *)p.w + (w ? (u64)(x + r) * p.k + col : 0), w);
      }
    };
    UNROLL for (int k = 0; k < ST - 1; k++) {
      if (k < ks) load(k);
      copies_commit();
    }
    float d[2][64];
    UNROLL for (int i = 0; i < 128; i++) d[i >> 6][i & 63] = 0;
    for (int k = 0; k < ks; k++) {
      copies_wait<ST - 2>();
      sync();
      if (k + ST - 1 < ks) load(k + ST - 1);
      copies_commit();
      const u32 s = base + k % ST * STAGE;
#ifdef E4M3
      u32 a[2][2][4];
      UNROLL for (int i = 0; i < 4; i++)
        matrix_load(a[i >> 1][i & 1],
                    s + chunk_at(warp * 32 + (i & 1) * 16 + (lane & 15), (i & 2) + (lane >> 4)));
      UNROLL for (int j = 0; j < 8; j++) {
        const int row = j * 16 + (lane & 7) + (lane >> 4 << 3);
        u32 b[2][4];
        UNROLL for (int kk = 0; kk < 2; kk++)
          matrix_load(b[kk], s + STAGE / 2 + chunk_at(row, 2 * kk + (lane >> 3 & 1)));
        UNROLL for (int i = 0; i < 2; i++) {
          float part[8] = {0, 0, 0, 0, 0, 0, 0, 0};
          UNROLL for (int kk = 0; kk < 2; kk++) {
            mma_e4m3(part, a[kk][i], b[kk][0], b[kk][1]);
            mma_e4m3(part + 4, a[kk][i], b[kk][2], b[kk][3]);
          }
          UNROLL for (int e = 0; e < 8; e++) d[i][8 * j + e] += part[e];
        }
      }
#else
      UNROLL for (int kk = 0; kk < 2; kk++) {
        u32 a[2][4], b[8][4];
        UNROLL for (int i = 0; i < 2; i++)
          matrix_load(a[i], s + chunk_at(warp * 32 + i * 16 + (lane & 15), 2 * kk + (lane >> 4)));
        UNROLL for (int j = 0; j < 8; j++) {
          const int row = j * 16 + (lane & 7) + (lane >> 4 << 3);
          matrix_load(b[j], s + STAGE / 2 + chunk_at(row, 2 * kk + (lane >> 3 & 1)));
        }
        UNROLL for (int j = 0; j < 8; j++) {
          UNROLL for (int i = 0; i < 2; i++) {
            mma(d[i] + 8 * j, a[i], b[j][0], b[j][1]);
            mma(d[i] + 8 * j + 4, a[i], b[j][2], b[j][3]);
          }
        }
      }
#endif
    }
    sync(); // the stages are read
    UNROLL for (int i = 0; i < 2; i++) {
      const int row = y + warp * 32 + i * 16 + (lane >> 2);
#ifdef E4M3
      float scales[2];
      UNROLL for (int h = 0; h < 2; h++)
        scales[h] = scale_of_row(p, from + (row + 8 * h < m ? row + 8 * h : m - 1));
      scale(d[i], scales, p, x, q);
#endif
      add_bias(d[i], p.bias, x, p.n, q);
      if constexpr (GATED) gate(d[i], p.act);
      else activate(d[i], p.act);
      constexpr int N = GATED ? 8 : 16, STEP = GATED ? 8 : 4;
      u32 v[N][2];
      UNROLL for (int j = 0; j < N; j++) {
        v[j][0] = pair(d[i][STEP * j], d[i][STEP * j + 1]);
        v[j][1] = pair(d[i][STEP * j + 2], d[i][STEP * j + 3]);
      }
      put<N>(v, p, from, row, GATED ? x / 2 : x, m, GATED ? p.n / 2 : p.n, q, !GATED && p.r);
    }
  }
}

#ifdef E4M3
KERNEL BOUNDS(128, 2) void product_mma_e4m3(Product p) { product<false>(p); }
KERNEL BOUNDS(128, 2) void gated_mma_e4m3(Product p) { product<true>(p); }
#else
KERNEL BOUNDS(128, 2) void product_mma(Product p) { product<false>(p); }
KERNEL BOUNDS(128, 2) void gated_mma(Product p) { product<true>(p); }
#endif
