// Mixtures: which experts a row takes, where its copies lie among the rows of each
// expert, and their sum. Nothing depends on other rows but the places.
#include "act.h"
#include "args.h"

// Of equal values the first.
DEV bool before(float v, int e, float w, int f) { return v > w || (v == w && e < f); }

// A warp has a row. It finds the top values one after the other; the experts are then
// those that are not behind the last of them.
KERNEL BOUNDS(128, 8) void choose(Route p) {
  const int lane = tid() & 31, rows = p.header[p.at], n = p.chosen, taken = p.top + p.experts - n;
  for (int r = bid() * 4 + (tid() >> 5); r < rows; r += grid() * 4) {
    const float *x = p.logits + (long long)r * p.experts;
    float most = -floatof(0x7f800000), sum = 0;
    u32 bad = 0;
    for (int e = lane; e < n; e += 32) {
      most = larger(x[e], most);
      if (isnan(x[e])) bad = 1;
    }
    UNROLL for (int m = 1; m < 32; m <<= 1) {
      most = larger(swap(most, m), most);
      bad |= swap(bad, m);
    }
    for (int e = lane; e < n; e += 32) sum += expo(x[e] - most);
    sum = warp_sum(sum);
    // With a NaN all probabilities are NaN, and the first experts as good as any.
    auto value = [=](int e) { return bad ? 0.0f : x[e]; };
    float last = floatof(0x7f800000);
    int at = -1; // the expert of the last value
    for (int j = 0; j < p.top; j++) {
      float best = -floatof(0x7f800000);
      int which = n;
      for (int e = lane; e < n; e += 32) {
        float v = value(e);
        if (before(last, at, v, e) && before(v, e, best, which)) best = v, which = e;
      }
      UNROLL for (int m = 1; m < 32; m <<= 1) {
        float v = swap(best, m);
        int e = (int)swap((u32)which, m);
        if (before(v, e, best, which)) best = v, which = e;
      }
      last = best, at = which;
    }
    if (lane != 0) continue;
    int *expert = p.expert + (long long)r * taken;
    float *weight = p.weight + (long long)r * taken, share = 0;
    for (int e = 0, j = 0; e < n && j < p.top; e++) {
      if (before(last, at, value(e), e)) continue;
      const float w = bad ? floatof(0x7fc00000) : expo(x[e] - most) / sum;
      expert[j] = e, weight[j] = w, share += w, j++;
    }
    for (int j = 0; p.normalized && j < p.top; j++) weight[j] /= share;
    for (int j = 0; j < p.experts - n; j++) {
      expert[p.top + j] = n + j;
      weight[p.top + j] = 1.0f / (1.0f + expo(-x[n + j]));
    }
  }
}

// A block has an expert: it counts the entries of those before it, and its own before
// each of its threads' parts of the list.
KERNEL BOUNDS(256, 4) void sort(Route p) {
  SHARED static int own[256], own_of[8], less_of[8]; // of threads, and of warps
  const int taken = p.top + p.experts - p.chosen, entries = p.header[p.at] * taken;
  const int part = (entries + 255) / 256, lo = tid() * part, hi = lo + part < entries ? lo + part : entries;
  const int warp = tid() >> 5, lane = tid() & 31;
  for (int e = bid(); e < p.experts; e += grid()) {
    int mine = 0, lower = 0;
    for (int i = lo; i < hi; i++) {
      const int of = p.expert[i];
      mine += of == e;
      lower += of < e;
    }
    sync(); // the counts of the expert before have been read
    own[tid()] = mine;
    UNROLL for (int m = 1; m < 32; m <<= 1) {
      mine += (int)swap((u32)mine, m);
      lower += (int)swap((u32)lower, m);
    }
    if (lane == 0) own_of[warp] = mine, less_of[warp] = lower;
    sync();
    int first = 0, all = 0, at = 0; // at: of the thread's entries among the expert's
    ROLLED for (int i = 0; i < lane; i++) at += own[warp * 32 + i];
    ROLLED for (int i = 0; i < 8; i++) {
      first += less_of[i], all += own_of[i];
      if (i < warp) at += own_of[i];
    }
    for (int i = lo; i < hi; i++) {
      if (p.expert[i] != e) continue;
      p.place[i] = first + at;
      p.row[first + at] = i / taken;
      at++;
    }
    if (tid() != 0) continue;
    p.header[p.counts + e] = all, p.header[p.offsets + e] = first;
    if (e == p.experts - 1) p.header[p.offsets + p.experts] = first + all;
  }
}

template <class T> DEV void combine(const Combine &p) {
  T *y = (T *)p.y;
  const T *x = (const T *)p.x, *z = (const T *)p.z;
  const bool wide_y = wide(y, p.ldy), wide_x = wide(x, p.ldx), wide_z = wide(z, p.ldz);
  for (int r = bid(), rows = p.header[p.at]; r < rows; r += grid()) {
    for (int c = 8 * tid(); c < p.n; c += 1024) {
      float s[8], v[8];
      get8(s, z + (long long)r * p.ldz + c, p.n - c, wide_z);
      ROLLED for (int j = 0; j < p.taken; j++) {
        const float w = p.weight[(long long)r * p.taken + j];
        get8(v, x + (long long)p.place[(long long)r * p.taken + j] * p.ldx + c, p.n - c, wide_x);
        UNROLL for (int i = 0; i < 8; i++) s[i] = fma(w, v[i], s[i]);
      }
      put8(y + (long long)r * p.ldy + c, s, p.n - c, wide_y);
    }
  }
}
KERNEL BOUNDS(128, 8) void combine_bf16(Combine p) { combine<bf16>(p); }
KERNEL BOUNDS(128, 8) void combine_f32(Combine p) { combine<float>(p); }
