// Attention without tensor cores: everything that nn.Attention says, heads of up to 512
// values.
//
// A block of 128 threads takes some queries of a task and one head. It goes through the
// keys in blocks of 32 by position, which divide the 128 that prefixes are cut to, so
// that a query meets its keys in one order wherever they lie. A lane of a warp has one
// key of a block and all of the warp's queries; of their results it has every 32nd
// column. Blocks that no query of a thread block sees are left out; those that one query
// does not see change nothing of it, as factors of 1 and terms of 0 are exact.
#include "act.h"
#include "args.h"

constexpr int KEYS = 32, MEMORY = 11648; // MEMORY: floats of shared memory, of the largest

// WIDTH: what a head has at most; RELATIVE: scores know of distances
template <class T, int WIDTH, bool RELATIVE> struct Attention {
  static constexpr int COLS = WIDTH / 32;             // of results of a lane
  static constexpr int OWN = WIDTH > 128 ? 4 : 8;     // queries of a warp
  static constexpr int QUERIES = 4 * OWN;             // of the block
  static constexpr int CHUNK = WIDTH > 128 ? 16 : 32; // columns of keys in shared memory
  static constexpr int NEAR = QUERIES + KEYS;         // distances that a block of keys has, and one more
  static constexpr int LINE = RELATIVE ? KEYS + 4 : KEYS + 1;
  static constexpr int TERMS = NEAR * QUERIES + (NEAR + 2) * KEYS, TABLES = 2 * CHUNK * (NEAR + 1);
  static constexpr int ROOM = QUERIES * (WIDTH + KEYS) + CHUNK * LINE +
      (!RELATIVE ? 0 : TERMS > TABLES ? TERMS : TABLES);
};

DEV bool seen(const Attend &p, int query, int key) {
  return (!p.causal || key <= query) && (!p.window || key > query - p.window) &&
         (!p.reach || (key >= query - p.reach && key <= query + p.reach));
}

template <class T, int WIDTH, bool RELATIVE>
DEV void attend_part(const Attend &p, float *mem, const Task &task, int head, int part) {
  using A = Attention<T, WIDTH, RELATIVE>;
  static_assert(A::ROOM <= MEMORY);
  constexpr int OWN = A::OWN, QUERIES = A::QUERIES, CHUNK = A::CHUNK, NEAR = A::NEAR, LINE = A::LINE;
  float *qs = mem;                  // [query][WIDTH]
  float *ps = qs + QUERIES * WIDTH; // [warp][key][OWN] weights
  float *ks = ps + QUERIES * KEYS;  // [CHUNK][LINE]
  // Of distances, from the farthest key on, their rows, and then what each query and each
  // key makes of all of them, of which a score takes one of either.
  float *pk = ks + CHUNK * LINE, *pq = pk + CHUNK * (NEAR + 1); // [CHUNK][NEAR + 1]
  float *byquery = pk, *bykey = byquery + QUERIES * NEAR; // [query][NEAR], [key][NEAR + 2]
  const int lane = tid() & 31, mine = tid() / 32 * OWN, d = p.d;
  const int first = part * QUERIES, count = task.n - first < QUERIES ? task.n - first : QUERIES;
  const int at = task.at + first; // position of the first query
  const int kvhead = head / (p.heads / p.kvheads);

  const T *q = (const T *)p.q + (long long)(task.row + first) * p.ldq + (long long)head * d;
  const bool wide_q = wide(q, p.ldq);
  ROLLED for (int e = tid(); e < QUERIES * WIDTH / 8; e += 128) {
    int r = e / (WIDTH / 8), c = e % (WIDTH / 8) * 8;
    float v[8];
    get8(v, q + (long long)(r < count ? r : 0) * p.ldq + c, r < count ? d - c : 0, wide_q);
    UNROLL for (int i = 0; i < 8; i++) qs[r * WIDTH + c + i] = v[i];
  }

  float out[OWN][A::COLS], most[OWN], sum[OWN]; // sum: of the lane's keys
  UNROLL for (int i = 0; i < OWN; i++) {
    most[i] = -floatof(0x7f800000), sum[i] = 0;
    UNROLL for (int j = 0; j < A::COLS; j++) out[i][j] = 0;
  }
  int from = 0, end = task.keys;
  if (p.causal && at + count < end) end = at + count;
  if (p.window && at - p.window + 1 > from) from = at - p.window + 1;
  if (p.reach) {
    if (at - p.reach > from) from = at - p.reach;
    if (at + count + p.reach < end) end = at + count + p.reach;
  }
  const float limit = p.softcap / p.scale, scale = p.scale * 1.4426950409f;
  for (int k0 = from / KEYS * KEYS; k0 < end; k0 += KEYS) {
    const long long row = k0 < task.shared ? task.prefix + k0 : task.own + k0 - task.shared;
    const int keys = end - k0 < KEYS ? end - k0 : KEYS;
    const T *k = (const T *)p.k + row * p.ldkv + (long long)kvhead * d;
    const T *v = (const T *)p.v + row * p.ldkv + (long long)kvhead * d;
    const bool wide_k = wide(k, p.ldkv);
    float s[OWN], of_query[OWN][2], of_key[8][2]; // by distance lane and lane + 32; keys 8·warp and on
    UNROLL for (int i = 0; i < OWN; i++) s[i] = of_query[i][0] = of_query[i][1] = 0;
    UNROLL for (int i = 0; i < 8; i++) of_key[i][0] = of_key[i][1] = 0;
    ROLLED for (int c0 = 0; c0 < d; c0 += CHUNK) {
      sync(); // the columns before have been read
      ROLLED for (int e = tid(); e < KEYS * CHUNK / 8; e += 128) {
        int r = e / (CHUNK / 8), c = e % (CHUNK / 8) * 8;
        float x[8];
        get8(x, k + (long long)(r < keys ? r : 0) * p.ldkv + c0 + c, r < keys ? d - c0 - c : 0, wide_k);
        UNROLL for (int i = 0; i < 8; i++) ks[(c + i) * LINE + r] = x[i];
      }
      if (RELATIVE) {
        ROLLED for (int e = tid(); e < NEAR * CHUNK / 8; e += 128) {
          int r = e / (CHUNK / 8), c = e % (CHUNK / 8) * 8, n = d - c0 - c;
          int distance = at - k0 - (KEYS - 1) + r;
          distance = distance >= p.most ? p.most - 1 : distance <= -p.most ? 1 - p.most : distance;
          long long from = p.bucket[p.most - 1 + distance];
          float x[8];
          const T *t = (const T *)p.pk;
          get8(x, t + (head * p.rows + from) * d + c0 + c, t ? n : 0, aligned(t) && d % 8 == 0);
          UNROLL for (int i = 0; i < 8; i++) pk[(c + i) * (NEAR + 1) + r] = x[i];
          t = (const T *)p.pq;
          get8(x, t + (kvhead * p.rows + from) * d + c0 + c, t ? n : 0, aligned(t) && d % 8 == 0);
          UNROLL for (int i = 0; i < 8; i++) pq[(c + i) * (NEAR + 1) + r] = x[i];
        }
      }
      sync();
      ROLLED for (int c = 0; c < CHUNK; c += 4) {
        float x[4], y[OWN][4];
        UNROLL for (int j = 0; j < 4; j++) x[j] = ks[(c + j) * LINE + lane];
        UNROLL for (int i = 0; i < OWN; i++) {
          const F4 v = *(const F4 *)(qs + (mine + i) * WIDTH + c0 + c);
          y[i][0] = v.x, y[i][1] = v.y, y[i][2] = v.z, y[i][3] = v.w;
          UNROLL for (int j = 0; j < 4; j++) s[i] = fma(y[i][j], x[j], s[i]);
        }
        if (!RELATIVE) continue;
        UNROLL for (int j = 0; j < 4; j++) {
          UNROLL for (int h = 0; h < 2; h++) {
            const bool has = lane + 32 * h < NEAR;
            const float k = has ? pk[(c + j) * (NEAR + 1) + lane + 32 * h] : 0;
            const float q = has ? pq[(c + j) * (NEAR + 1) + lane + 32 * h] : 0;
            UNROLL for (int i = 0; i < OWN; i++) of_query[i][h] = fma(y[i][j], k, of_query[i][h]);
            UNROLL for (int i = 0; i < 8; i += 4) {
              const F4 v = *(const F4 *)(ks + (c + j) * LINE + tid() / 32 * 8 + i);
              of_key[i][h] = fma(v.x, q, of_key[i][h]);
              of_key[i + 1][h] = fma(v.y, q, of_key[i + 1][h]);
              of_key[i + 2][h] = fma(v.z, q, of_key[i + 2][h]);
              of_key[i + 3][h] = fma(v.w, q, of_key[i + 3][h]);
            }
          }
        }
      }
    }
    if (RELATIVE) {
      sync(); // the rows have been read
      UNROLL for (int h = 0; h < 2; h++) {
        if (lane + 32 * h >= NEAR) continue;
        UNROLL for (int i = 0; i < OWN; i++) byquery[(mine + i) * NEAR + lane + 32 * h] = of_query[i][h];
        UNROLL for (int i = 0; i < 8; i++)
          bykey[(tid() / 32 * 8 + i) * (NEAR + 2) + lane + 32 * h] = of_key[i][h];
      }
      sync();
      UNROLL for (int i = 0; i < OWN; i++) {
        const int distance = mine + i - lane + KEYS - 1;
        s[i] = s[i] + byquery[(mine + i) * NEAR + distance] + bykey[lane * (NEAR + 2) + distance];
      }
    }
    if (p.softcap > 0) {
      // Each in turn at the front, so that the function stands here once.
      ROLLED for (int i = 0; i < OWN; i++) {
        const float x = limit * tanh(s[0] / limit);
        UNROLL for (int j = 1; j < OWN; j++) s[j - 1] = s[j];
        s[OWN - 1] = x;
      }
    }
    UNROLL for (int i = 0; i < OWN; i++) {
      bool sees = lane < keys && seen(p, at + mine + i, k0 + lane);
      float top = sees ? s[i] : -floatof(0x7f800000);
      UNROLL for (int b = 1; b < 32; b <<= 1) top = larger(swap(top, b), top);
      top = larger(top, most[i]);
      const float base = top == -floatof(0x7f800000) ? 0 : top; // nothing seen yet
      const float less = exp2near((most[i] - base) * scale);
      const float weight = sees ? exp2near((s[i] - base) * scale) : 0;
      most[i] = top;
      sum[i] = sum[i] * less + weight;
      UNROLL for (int j = 0; j < A::COLS; j++) out[i][j] *= less;
      ps[(mine * KEYS) + lane * OWN + i] = weight;
    }
    sync();
    _Pragma("unroll 2") for (int n = 0; n < keys; n++) {
      float w[OWN];
      UNROLL for (int i = 0; i < OWN; i += 4) {
        const F4 y = *(const F4 *)(ps + mine * KEYS + n * OWN + i);
        w[i] = y.x, w[i + 1] = y.y, w[i + 2] = y.z, w[i + 3] = y.w;
      }
      UNROLL for (int j = 0; j < A::COLS; j++) {
        const float x = lane + 32 * j < d ? get(v + (long long)n * p.ldkv + lane + 32 * j) : 0;
        UNROLL for (int i = 0; i < OWN; i++) out[i][j] = fma(w[i], x, out[i][j]);
      }
    }
  }
  T *o = (T *)p.o + (long long)(task.row + first) * p.ldo + (long long)head * d;
  UNROLL for (int i = 0; i < OWN; i++) {
    const float part = 1.0f / warp_sum(sum[i]);
    if (mine + i >= count) continue;
    UNROLL for (int j = 0; j < A::COLS; j++) {
      if (lane + 32 * j < d) put(o + (long long)(mine + i) * p.ldo + lane + 32 * j, out[i][j] * part);
    }
  }
}

template <class T, int WIDTH, bool RELATIVE> DEV void attend_all(const Attend &p, float *mem) {
  constexpr int QUERIES = Attention<T, WIDTH, RELATIVE>::QUERIES, PARTS = 128 / QUERIES;
  const int items = p.header[p.at] * p.heads * PARTS;
  ROLLED for (int item = bid(); item < items; item += grid()) {
    const Task task = p.tasks[item / PARTS / p.heads];
    const int part = item % PARTS;
    if (part * QUERIES < task.n) attend_part<T, WIDTH, RELATIVE>(p, mem, task, item / PARTS % p.heads, part);
  }
}

template <class T> DEV void attend(const Attend &p) {
  alignas(16) SHARED static float mem[MEMORY];
  if (p.bucket) {
    if (p.d <= 64) attend_all<T, 64, true>(p, mem);
    else attend_all<T, 512, true>(p, mem);
  } else if (p.d <= 64) {
    attend_all<T, 64, false>(p, mem);
  } else if (p.d <= 128) {
    attend_all<T, 128, false>(p, mem);
  } else {
    attend_all<T, 512, false>(p, mem);
  }
}

KERNEL BOUNDS(128, 3) void attend_f32_simt(Attend p) { attend<float>(p); }
KERNEL BOUNDS(128, 3) void attend_bf16_simt(Attend p) { attend<bf16>(p); }
