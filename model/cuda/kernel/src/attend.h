// What attention on tensor cores shares: which keys a query sees, and the softmax.
#pragma once
#include "tensor.h"

DEV Task task_at(const Task *p) {
  U4 a = load16(p), b = load16((const U4 *)p + 1);
  return Task{(int)a.x, (int)a.y, (int)a.z, (int)a.w, (int)b.x, (int)b.y, (int)b.z, 0};
}

// A query at position x sees keys from x-back to x+ahead that the sequence has.
struct Sight {
  int back, ahead;
  __attribute__((device)) Sight(const Attend &p) {
    back = ahead = 1 << 30;
    if (p.reach > 0) back = ahead = p.reach;
    if (p.window > 0 && p.window - 1 < back) back = p.window - 1;
    if (p.causal) ahead = 0;
  }
  // the first and last block of so many keys that any of n queries from position at on sees
  __attribute__((device)) int first(int at, int block) const { return at > back ? (at - back) / block : 0; }
  __attribute__((device)) int last(int at, int n, int keys, int block) const {
    int end = at + n - 1 + ahead;
    return (end < keys - 1 ? end : keys - 1) / block;
  }
};

// Scores are multiplied by factor before exp2. A soft cap makes them tanh(s·inner) first.
struct Scale {
  float factor, inner; // inner is 0 without a cap
  __attribute__((device)) Scale(const Attend &p) {
    bool capped = p.softcap > 0;
    factor = 1.4426950408889634f * (capped ? p.softcap : p.scale);
    inner = capped ? 2.8853900817779268f * p.scale / p.softcap : 0; // 2·log2(e)·
  }
};
template <int N> DEV void cap(float (&s)[N], float inner) { // tanh x is 1-2/(1+e^2x)
  UNROLL for (int i = 0; i < N; i++) s[i] = fma(-2.0f, rcpnear(1.0f + exp2near(s[i] * inner)), 1.0f);
}

// Masks scores of a row and of the one 8 below, whose positions are pos and pos+8: s[4j..]
// belong to keys key+8j, +1. What is masked adds exactly nothing, whatever it was.
template <int N> DEV void mask_above(float (&s)[N], int key, int pos, const Sight &see, int keys) {
  UNROLL for (int h = 0; h < 2; h++) {
    const int end = pos + 8 * h + see.ahead, last = (end < keys - 1 ? end : keys - 1) - key;
    UNROLL for (int j = 0; j < N / 4; j++) {
      UNROLL for (int i = 0; i < 2; i++) {
        if (8 * j + i > last) s[4 * j + 2 * h + i] = -__builtin_inff();
      }
    }
  }
}
template <int N> DEV void mask_below(float (&s)[N], int key, int pos, const Sight &see) {
  UNROLL for (int h = 0; h < 2; h++) {
    const int first = pos + 8 * h - see.back - key;
    UNROLL for (int j = 0; j < N / 4; j++) {
      UNROLL for (int i = 0; i < 2; i++) {
        if (8 * j + i < first) s[4 * j + 2 * h + i] = -__builtin_inff();
      }
    }
  }
}

// The same for a block of KEYS keys from position key on, where any of the ROWS queries
// from position low on needs it. The lane's first query is at pos, its first key 2q further.
template <int KEYS, int ROWS, int N>
DEV void mask(float (&s)[N], int key, int low, int pos, int q, const Sight &see, int keys) {
  if (key + KEYS - 1 > low + see.ahead || key + KEYS > keys) mask_above(s, key + 2 * q, pos, see, keys);
  if (key < low + ROWS - 1 - see.back) mask_below(s, key + 2 * q, pos, see);
}

// Turns scores into shares of the largest yet. sum is of the lane's keys, alpha is by what
// earlier results are to be multiplied: exactly 1 while the largest stays.
template <int N>
DEV void softmax(float (&s)[N], float (&most)[2], float (&sum)[2], float (&alpha)[2], float factor) {
  UNROLL for (int h = 0; h < 2; h++) {
    float m = most[h];
    UNROLL for (int j = 0; j < N / 4; j++) m = maximum(m, maximum(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]));
    m = maximum(m, swap(m, 1));
    m = maximum(m, swap(m, 2));
    float base = m * factor;
    alpha[h] = exp2near((most[h] - m) * factor);
    most[h] = m;
    float a = 0, b = 0;
    UNROLL for (int j = 0; j < N / 4; j++) {
      a += s[4 * j + 2 * h] = exp2near(fma(s[4 * j + 2 * h], factor, -base));
      b += s[4 * j + 2 * h + 1] = exp2near(fma(s[4 * j + 2 * h + 1], factor, -base));
    }
    sum[h] = fma(sum[h], alpha[h], a + b);
  }
}
constexpr float LEAST = -1e30f; // below any score, and finite: LEAST-LEAST is 0

// One over the sums of a quad's lanes.
DEV void invert(float (&sum)[2]) {
  UNROLL for (int h = 0; h < 2; h++) {
    sum[h] += swap(sum[h], 1);
    sum[h] += swap(sum[h], 2);
    sum[h] = rcpnear(sum[h]);
  }
}

// Stores D columns of a row and of the one 8 below, times a factor of each.
template <int D>
DEV void put(bf16 *to, int ld, const float (&o)[D / 2], const float (&by)[2], int row, int n, int q) {
  UNROLL for (int h = 0; h < 2; h++) {
    const int r = row + 8 * h;
    UNROLL for (int j = 0; j < D / 32; j++) {
      u32 v[4];
      UNROLL for (int c = 0; c < 4; c++) {
        const float *e = o + 16 * j + 4 * c + 2 * h;
        v[c] = pair(e[0] * by[h], e[1] * by[h]);
      }
      transpose4(v, q);
      if (r < n) store16(to + (u64)r * ld + 32 * j + 8 * q, U4{v[0], v[1], v[2], v[3]});
    }
  }
}
