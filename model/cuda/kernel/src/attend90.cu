// Attention for Hopper: one warp loads, two warpgroups have 64 queries each of a task, keys
// come in blocks. Blocks are cut by position in the sequence, and a prefix's are read where
// it lies once, so that a query's result depends on nothing but its own sequence.
//
// Scores of a block are made while the shares of the one before meet its values.
//
// Where there are few tasks, a block has half a task and one warpgroup.
#include "attend.h"

#define METHOD __attribute__((device)) __attribute__((always_inline)) inline

// Heads of D values, blocks of KEYS keys. QST tasks' queries and ST blocks are in use or on
// their way. G warpgroups have 64 queries each.
template <int D, int KEYS, int QST, int ST, int G> struct Attention {
  static constexpr int PANELS = (D + 63) / 64; // of 64 columns; the last's rest is the next head's
  static constexpr u32 PANEL = KEYS * 128, BLOCK = PANELS * PANEL;
  static constexpr u32 QPANEL = 64 * 128, QUERIES = G * PANELS * QPANEL; // a panel for each warpgroup

  const Attend &p;
  const u32 base, sk, sv, qfull, qempty, kfull, kempty, vfull, vempty, vcome;
  int items;

  METHOD Attention(const Attend &p, u32 base)
      : p(p), base(base), sk(base + QST * QUERIES), sv(sk + ST * BLOCK), qfull(sv + ST * BLOCK),
        qempty(qfull + 8 * QST), kfull(qempty + 8 * QST), kempty(kfull + 8 * ST), vfull(kempty + 8 * ST), vempty(vfull + 8 * ST),
        vcome(vempty + 8 * ST) {}

  METHOD void prepare(int t) {
    if (t == 0) {
      UNROLL for (int s = 0; s < QST; s++) {
        barrier_init(qfull + 8 * s, 1);
        barrier_init(qempty + 8 * s, 4 * G);
      }
      UNROLL for (int s = 0; s < ST; s++) {
        barrier_init(kfull + 8 * s, 1);
        barrier_init(vfull + 8 * s, 1);
        barrier_init(vcome + 8 * s, 1); // values with rows behind the sequence, see clean
        barrier_init(kempty + 8 * s, 4 * G);
        barrier_init(vempty + 8 * s, 4 * G);
      }
      barrier_init_done();
      map_acquire(p.qmap);
      map_acquire(p.kvmap);
    }
    sync();
    follow();
    items = p.header[p.at] * p.heads * (2 / G);
  }

  // The task of an item, or any that there is, or the half of one, which may have no queries. The
  // second half, which may see more keys, comes first.
  METHOD Task task(int item) const {
    if (item >= items) item = 0;
    Task k = task_at(p.tasks + item / (p.heads * (2 / G)));
    if (G == 1 && item / p.heads % 2 == 0) {
      k.row += 64;
      k.at += 64;
      k.n -= 64;
    } else if (k.n > 64 * G) k.n = 64 * G;
    return k;
  }

  METHOD void load() const { // one thread
    const Sight see(p);
    const int rep = p.heads / p.kvheads;
    int s = 0, qs = 0;
    u32 phase = 1, qphase = 1;
    if (bid() >= items) return;
    Task k = task(bid()), next = k;
    for (int it = bid(); it < items; it += grid(), k = next) {
      next = task(it + grid());
      if (k.n <= 0) continue;
      const int h = it % p.heads, qc = p.qcol + h * D, kc = p.kcol + h / rep * D, vc = p.vcol + h / rep * D;
      barrier_wait(qempty + 8 * qs, qphase);
      barrier_expect(qfull + 8 * qs, QUERIES);
      UNROLL for (int i = 0; i < G * PANELS; i++)
        box_load(base + qs * QUERIES + i * QPANEL, p.qmap, qfull + 8 * qs, qc + i % PANELS * 64,
                 k.row + i / PANELS * 64);
      if (++qs == QST) qs = 0, qphase ^= 1;
      const int last = see.last(k.at, k.n, k.keys, KEYS);
      for (int j = see.first(k.at, KEYS); j <= last; j++) {
        const int row = j * KEYS < k.shared ? k.prefix + j * KEYS : k.own + j * KEYS - k.shared;
        barrier_wait(kempty + 8 * s, phase);
        barrier_expect(kfull + 8 * s, BLOCK);
        UNROLL for (int i = 0; i < PANELS; i++)
          box_load(sk + s * BLOCK + i * PANEL, p.kvmap, kfull + 8 * s, kc + 64 * i, row);
        barrier_wait(vempty + 8 * s, phase);
        const u32 come = (j * KEYS + KEYS > k.keys ? vcome : vfull) + 8 * s;
        barrier_expect(come, BLOCK);
        UNROLL for (int i = 0; i < PANELS; i++)
          box_load(sv + s * BLOCK + i * PANEL, p.kvmap, come, vc + 64 * i, row);
        if (++s == ST) s = 0, phase ^= 1;
      }
    }
  }

  // Puts zeros where values come from behind a sequence: their shares are 0, but they may
  // be another sequence's NaN.
  METHOD void clean(int lane) const { // a warp
    const Sight see(p);
    int s = 0;
    u32 phases = 0;
    for (int it = bid(); it < items; it += grid()) {
      const Task k = task(it);
      if (k.n <= 0) continue;
      const int last = see.last(k.at, k.n, k.keys, KEYS), there = k.keys - last * KEYS;
      s = (s + last - see.first(k.at, KEYS)) % ST;
      if (there < KEYS) {
        barrier_wait(vcome + 8 * s, phases >> s & 1);
        phases ^= 1u << s;
        for (int i = lane; i < (KEYS - there) * 8; i += 32) {
          UNROLL for (int c = 0; c < PANELS; c++)
            store_shared16(sv + s * BLOCK + c * PANEL + there * 128 + 16 * i, U4{0, 0, 0, 0});
        }
        proxy_fence();
        warp_sync();
        if (lane == 0) barrier_arrive(vfull + 8 * s);
      }
      s = (s + 1) % ST;
    }
  }

  METHOD static void scores(float (&s)[KEYS / 2], u32 q, u32 k) {
    const u64 a = along_k(q), b = along_k(k);
    UNROLL for (int i = 0; i < D / 16; i++)
      wgmma(s, a + (i >> 2) * (QPANEL >> 4) + (i & 3) * 2, b + (i >> 2) * (PANEL >> 4) + (i & 3) * 2, i);
  }
  METHOD static void values(float (&o)[D / 2], const u32 (&shares)[KEYS / 4], u32 v) {
    const u64 b = along_n(v, PANEL);
    UNROLL for (int i = 0; i < KEYS / 16; i++) wgmma(o, shares + 4 * i, b + i * (2048 >> 4));
  }
  METHOD static void pairs(u32 (&to)[KEYS / 4], const float (&s)[KEYS / 2]) {
    UNROLL for (int i = 0; i < KEYS / 4; i++) to[i] = pair(s[2 * i], s[2 * i + 1]);
  }

  METHOD void attend(int t) const { // a warpgroup
    const Sight see(p);
    const Scale scale(p);
    const int w = (t >> 7) - 1, lane = t & 31, q = lane & 3, r0 = w * 64 + (t >> 5 & 3) * 16 + (lane >> 2);
    int s = 0, qs = 0;
    u32 phase = 0, qphase = 0;
    float o[D / 2], sc[KEYS / 2];
    u32 shares[KEYS / 4];
    if (bid() >= items) return;
    Task k = task(bid()), next = k;
    for (int it = bid(); it < items; it += grid(), k = next) {
      next = task(it + grid());
      if (k.n <= 0) continue;
      const int first = see.first(k.at, KEYS), last = see.last(k.at, k.n, k.keys, KEYS), low = k.at + w * 64;
      const u32 mine = base + qs * QUERIES + w * (PANELS * QPANEL);
      float most[2] = {LEAST, LEAST}, sum[2] = {0, 0}, alpha[2];
      UNROLL for (int i = 0; i < D / 2; i++) o[i] = 0; // unset registers make ptxas serialise wgmma
      UNROLL for (int i = 0; i < KEYS / 2; i++) sc[i] = 0;
      // Of the keys of block j, whose scores are there.
      auto share = [&](int j) __attribute__((always_inline)) {
        if (scale.inner != 0) cap(sc, scale.inner);
        mask<KEYS, 64>(sc, j * KEYS, low, k.at + r0, q, see, k.keys);
        softmax(sc, most, sum, alpha, scale.factor);
      };

      barrier_wait(qfull + 8 * qs, qphase);
      barrier_wait(kfull + 8 * s, phase);
      wgmma_fence();
      scores(sc, mine, sk + s * BLOCK);
      wgmma_commit();
      wgmma_wait<0>();
      if (lane == 0) barrier_arrive(kempty + 8 * s);
      share(first);
      pairs(shares, sc);
      for (int j = first + 1; j <= last; j++) {
        const int sn = s + 1 == ST ? 0 : s + 1;
        const u32 pn = sn ? phase : phase ^ 1;
        barrier_wait(kfull + 8 * sn, pn);
        wgmma_fence();
        scores(sc, mine, sk + sn * BLOCK);
        wgmma_commit();
        barrier_wait(vfull + 8 * s, phase);
        wgmma_fence();
        values(o, shares, sv + s * BLOCK);
        wgmma_commit();
        wgmma_wait<1>();
        if (lane == 0) barrier_arrive(kempty + 8 * sn);
        share(j);
        wgmma_wait<0>();
        if (lane == 0) barrier_arrive(vempty + 8 * s);
        UNROLL for (int i = 0; i < D / 2; i++) o[i] *= alpha[i >> 1 & 1];
        pairs(shares, sc);
        s = sn;
        phase = pn;
      }
      if (lane == 0) barrier_arrive(qempty + 8 * qs); // all products with the queries are done
      if (++qs == QST) qs = 0, qphase ^= 1;
      barrier_wait(vfull + 8 * s, phase);
      wgmma_fence();
      values(o, shares, sv + s * BLOCK);
      wgmma_commit();
      invert(sum);
      wgmma_wait<0>();
      if (lane == 0) barrier_arrive(vempty + 8 * s);
      if (++s == ST) s = 0, phase ^= 1;
      put<D>((bf16 *)p.o + (u64)k.row * p.ldo + it % p.heads * D, p.ldo, o, sum, r0, k.n, q);
    }
  }

  METHOD void run() {
    const int t = tid();
    prepare(t);
    if (t < 128) {
      if constexpr (G > 1) registers_less<40>();
      if (t == 0) load();
      else if (t >= 32 && t < 64) clean(t & 31);
    } else {
      if constexpr (G > 1) registers_more<232>();
      attend(t);
    }
  }
};

#define HEADS(D, KEYS, QST, ST, G, NAME)                                        \
  KERNEL BOUNDS(128 + 128 * G, 1) void attend_wgmma_##NAME(Attend p) {             \
    extern SHARED u8 raw[];                                                        \
    Attention<D, KEYS, QST, ST, G>(p, (shared_address(raw) + 1023) & ~1023u).run(); \
  }
// A module for each size of a head: a model compiles the one that it needs.
#if HEAD == 64
HEADS(64, 128, 2, 4, 2, 64)
HEADS(64, 128, 2, 4, 1, 64_half)
#elif HEAD == 96
HEADS(96, 128, 2, 2, 2, 96)
#elif HEAD == 128
HEADS(128, 128, 2, 2, 2, 128)
HEADS(128, 128, 2, 2, 1, 128_half)
#else
HEADS(256, 64, 1, 2, 2, 256) // results leave no registers for more keys, keys no room for more queries
#endif
