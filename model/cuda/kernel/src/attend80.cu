// Attention for cards from Ampere on: mma.sync fed by cp.async. A block has 64 queries of
// a task, 16 a warp, and takes keys 64 at a time. Blocks are cut by position in the
// sequence, so that a query's result depends on nothing but its own sequence.
//
// Source: Dao 2023 (FlashAttention-2, arXiv 2307.08691), algorithm 1.
#include "attend.h"

template <int D> DEV void attention(const Attend &p) {
  extern SHARED u8 raw[];
  constexpr int B = 64;           // queries, and keys of a block
  constexpr u32 LINE = 2 * D + 16; // bytes between rows: an odd number of chunks of 16, for the banks
  constexpr bool KEEP = D <= 128; // whether queries stay in registers
  const u32 sq = shared_address(raw), sk = sq + B * LINE, sv = sk + B * LINE;
  const int t = tid(), lane = t & 31, warp = t >> 5, q = lane & 3;
  const Sight see(p);
  const Scale scale(p);
  const int items = p.header[p.at] * p.heads * 2, rep = p.heads / p.kvheads;

  // rows of a matrix of D columns, zeros behind n
  auto load = [&](u32 to, const void *from, int ld, int n) __attribute__((always_inline)) {
    _Pragma("unroll 4") for (int i = 0; i < B * D / 8 / 128; i++) {
      const int r = (t + 128 * i) / (D / 8), c = (t + 128 * i) % (D / 8);
      copy16(to + r * LINE + 16 * c, (const bf16 *)from + (r < n ? (u64)r * ld + 8 * c : 0), r < n);
    }
    copies_commit();
  };
  for (int it = bid(); it < items; it += grid()) {
    const Task k = task_at(p.tasks + it / 2 / p.heads);
    const int h = it / 2 % p.heads, skip = it % 2 * B, n = k.n - skip < B ? k.n - skip : B, at = k.at + skip;
    if (n <= 0) continue;
    const int first = see.first(at, B), last = see.last(at, n, k.keys, B);
    auto block = [&](u32 to, const void *from, int j) __attribute__((always_inline)) { // of keys or values
      const int row = j * B < k.shared ? k.prefix + j * B : k.own + j * B - k.shared;
      load(to, (const bf16 *)from + (u64)row * p.ldkv + h / rep * D, p.ldkv, k.keys - j * B);
    };
    sync(); // all have read what they had
    load(sq, (const bf16 *)p.q + (u64)(k.row + skip) * p.ldq + h * D, p.ldq, n);
    block(sk, p.k, first);
    block(sv, p.v, first);
    copies_wait<2>();
    sync();
    const u32 mine = sq + (warp * 16 + (lane & 15)) * LINE + (lane >> 4) * 16;
    u32 queries[KEEP ? D / 16 : 1][4];
    if constexpr (KEEP) {
      UNROLL for (int c = 0; c < D / 16; c++) matrix_load(queries[c], mine + 32 * c);
    }
    float o[D / 2], most[2] = {LEAST, LEAST}, sum[2] = {0, 0}, alpha[2];
    UNROLL for (int i = 0; i < D / 2; i++) o[i] = 0;
    for (int j = first; j <= last; j++) {
      copies_wait<1>();
      sync(); // the keys are there
      float s[B / 2];
      UNROLL for (int i = 0; i < B / 2; i++) s[i] = 0;
      UNROLL for (int c = 0; c < D / 16; c++) {
        if constexpr (!KEEP) matrix_load(queries[0], mine + 32 * c);
        UNROLL for (int g = 0; g < B / 16; g++) {
          u32 b[4];
          matrix_load(b, sk + (g * 16 + (lane & 7) + (lane >> 4 << 3)) * LINE + 32 * c +
                             (lane >> 3 & 1) * 16);
          mma(s + 8 * g, queries[KEEP ? c : 0], b[0], b[1]);
          mma(s + 8 * g + 4, queries[KEEP ? c : 0], b[2], b[3]);
        }
      }
      sync(); // the keys are read
      if (j < last) block(sk, p.k, j + 1);
      else copies_commit(); // so that waits count the same
      if (scale.inner != 0) cap(s, scale.inner);
      mask<B, B>(s, j * B, at, at + warp * 16 + (lane >> 2), q, see, k.keys);
      softmax(s, most, sum, alpha, scale.factor);
      UNROLL for (int i = 0; i < D / 2; i++) o[i] *= alpha[i >> 1 & 1];
      copies_wait<1>();
      sync(); // the values are there
      UNROLL for (int g = 0; g < B / 16; g++) {
        u32 a[4];
        UNROLL for (int i = 0; i < 4; i++) a[i] = pair(s[8 * g + 2 * i], s[8 * g + 2 * i + 1]);
        UNROLL for (int c = 0; c < D / 16; c++) {
          u32 b[4];
          matrix_load_transposed(b, sv + (g * 16 + (lane & 15)) * LINE + 32 * c + (lane >> 4) * 16);
          mma(o + 8 * c, a, b[0], b[1]);
          mma(o + 8 * c + 4, a, b[2], b[3]);
        }
      }
      sync(); // the values are read
      if (j < last) block(sv, p.v, j + 1);
      else copies_commit();
    }
    copies_wait<0>();
    invert(sum);
    put<D>((bf16 *)p.o + (u64)(k.row + skip) * p.ldo + h * D, p.ldo, o, sum, warp * 16 + (lane >> 2), n, q);
  }
}

KERNEL BOUNDS(128, 3) void attend_mma_64(Attend p) { attention<64>(p); }
KERNEL BOUNDS(128, 2) void attend_mma_96(Attend p) { attention<96>(p); }
KERNEL BOUNDS(128, 2) void attend_mma_128(Attend p) { attention<128>(p); }
KERNEL BOUNDS(128, 1) void attend_mma_256(Attend p) { attention<256>(p); }
