// Kernels that work on rows one by one, mostly a block of 128 threads for each. A thread
// has the columns 8t to 8t+7 and every 1024th behind, however they are read, so that
// sums have one order.
#include "act.h"
#include "args.h"

// The loops of most kernels: rows of a batch, and a thread's columns c of one, with n
// left from there on.
#define ROWS(r) for (int r = bid(), end = p.header[p.at]; r < end; r += grid())
#define COLUMNS(c, n) for (int c = 8 * tid(), n = p.n - c; n > 0; c += 1024, n -= 1024)
#define EIGHT(i) UNROLL for (int i = 0; i < 8; i++)

// Matrices of a kernel: where a row begins, and whether eight values are read at once.
template <class T> struct Matrix {
  T *p;
  int ld;
  bool at_once;
  __attribute__((device)) T *at(int r, int c) const { return p + (long long)r * ld + c; }
};
template <class T> DEV Matrix<T> matrix(void *p, int ld) { return {(T *)p, ld, wide((T *)p, ld)}; }
template <class T> DEV Matrix<const T> matrix(const void *p, int ld) {
  return {(const T *)p, ld, wide((const T *)p, ld)};
}

template <class T> DEV void lookup(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx), z = matrix<T>(p.z, p.ldz);
  ROWS(r) {
    int from = p.index[r];
    COLUMNS(c, n) {
      float v[8], a[8];
      get8(v, x.at(from, c), n, x.at_once);
      if (z.p) {
        get8(a, z.at(r, c), n, z.at_once);
        EIGHT(i) v[i] = a[i] + v[i];
      }
      put8(y.at(r, c), v, n, y.at_once);
    }
  }
}

template <class T> DEV void scale(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  ROWS(r) COLUMNS(c, n) {
    float v[8];
    get8(v, x.at(r, c), n, x.at_once);
    EIGHT(i) v[i] *= p.factor;
    put8(y.at(r, c), v, n, y.at_once);
  }
}

// The rare kernels take a column at a time.
#define EACH(c) for (int c = tid(); c < p.n; c += 128)

template <class T> DEV void activate(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  ROWS(r) EACH(c) put(y.at(r, c), activation(get(x.at(r, c)), p.act));
}

template <class T> DEV void affine(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  ROWS(r) EACH(c) put(y.at(r, c), fma(get(x.at(r, c)), p.w[c], p.b[c]));
}

template <class T> DEV void add(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx), z = matrix<T>(p.z, p.ldz);
  ROWS(r) COLUMNS(c, n) {
    float v[8], a[8];
    get8(v, x.at(r, c), n, x.at_once);
    get8(a, z.at(r, c), n, z.at_once);
    EIGHT(i) v[i] = a[i] + v[i];
    put8(y.at(r, c), v, n, y.at_once);
  }
}

DEV float squares(const float (&v)[8], float s) {
  EIGHT(i) s = fma(v[i], v[i], s);
  return s;
}

// Whole rows: a block each. Heads: a warp each, with every 256th column.
template <class T> DEV void rmsnorm(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  bool whole = p.heads == 0, at_once = aligned(p.w), even = whole || p.n % 8 == 0;
  x.at_once &= even, y.at_once &= even;
  int heads = whole ? 1 : p.heads, end = p.header[p.at] * heads;
  int first = whole ? 8 * tid() : 8 * (tid() & 31), step = whole ? 1024 : 256;
  int item = whole ? bid() : bid() * 4 + (tid() >> 5), items = whole ? grid() : grid() * 4;
  for (; item < end; item += items) {
    const T *from = x.at(item / heads, item % heads * p.n);
    T *to = y.at(item / heads, item % heads * p.n);
    float s = 0;
    for (int c = first; c < p.n; c += step) {
      float v[8];
      get8(v, from + c, p.n - c, x.at_once);
      s = squares(v, s);
    }
    s = whole ? block_sum<4>(s) : warp_sum(s);
    s = 1.0f / root(s / (float)p.n + p.eps);
    for (int c = first; c < p.n; c += step) {
      float v[8], w[8];
      get8(v, from + c, p.n - c, x.at_once);
      get8(w, p.w + c, p.n - c, at_once);
      EIGHT(i) v[i] = v[i] * s * w[i];
      put8(to + c, v, p.n - c, y.at_once);
    }
  }
}

template <class T> DEV void layernorm(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  bool at_once = aligned(p.w) && aligned(p.b);
  ROWS(r) {
    float s = 0, q = 0;
    COLUMNS(c, n) {
      float v[8];
      get8(v, x.at(r, c), n, x.at_once);
      EIGHT(i) s += v[i];
    }
    float mean = block_sum<4>(s) / (float)p.n;
    COLUMNS(c, n) {
      float v[8];
      get8(v, x.at(r, c), n, x.at_once);
      EIGHT(i) {
        v[i] -= mean;
        if (i < n) q = fma(v[i], v[i], q);
      }
    }
    float rstd = 1.0f / root(block_sum<4>(q) / (float)p.n + p.eps);
    COLUMNS(c, n) {
      float v[8], w[8], b[8];
      get8(v, x.at(r, c), n, x.at_once);
      get8(w, p.w + c, n, at_once);
      EIGHT(i) v[i] = (v[i] - mean) * rstd * w[i];
      if (p.b) {
        get8(b, p.b + c, n, at_once);
        EIGHT(i) v[i] += b[i];
      }
      put8(y.at(r, c), v, n, y.at_once);
    }
  }
}

// A thread has eight pairs of a head at a time, of any row.
template <class T> DEV void rotate(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  const bool even = p.n % 8 == 0 && p.pairs % 8 == 0, at_once = even && aligned(p.turn);
  x.at_once &= even, y.at_once &= even;
  const int groups = (p.pairs + 7) / 8, items = p.heads * groups, end = p.header[p.at] * items;
  for (int i = bid() * 128 + tid(); i < end; i += grid() * 128) {
    const int r = i / items, h = (i - r * items) / groups, j = (i - r * items - h * groups) * 8;
    const int c = h * p.n + j, n = p.pairs - j;
    const float *turn = p.turn + ((long long)p.index[r] * p.pairs + j) * 2;
    float a[8], b[8], t[2][8], u[8], v[8];
    get8(t[0], turn, 2 * n, at_once);
    get8(t[1], turn + 8, 2 * n - 8, at_once);
    get8(a, x.at(r, c), n, x.at_once);
    get8(b, x.at(r, c + p.pairs), n, x.at_once);
    EIGHT(k) {
      const float cos = t[k / 4][k % 4 * 2], sin = t[k / 4][k % 4 * 2 + 1];
      u[k] = fma(a[k], cos, -(b[k] * sin));
      v[k] = fma(b[k], cos, a[k] * sin);
    }
    put8(y.at(r, c), u, n, y.at_once);
    put8(y.at(r, c + p.pairs), v, n, y.at_once);
  }
  const int still = p.n - 2 * p.pairs; // columns of a head that stay
  if (y.p == x.p || still == 0) return;
  ROWS(r) for (int i = tid(); i < p.heads * still; i += 128) {
    const int h = i / still, c = h * p.n + 2 * p.pairs + i - h * still;
    put(y.at(r, c), get(x.at(r, c)));
  }
}

template <class T> DEV void neighbours(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  ROWS(r) {
    int first = p.index[r], behind = p.until[r];
    for (int i = tid(); i < p.n * p.kernel; i += 128) {
      int c = i / p.kernel, from = r + i - c * p.kernel - p.kernel / 2;
      put(y.at(r, i), from >= first && from < behind ? get(x.at(from, c)) : 0);
    }
  }
}

// the tokens are added in their order
template <class T> DEV void mean(Rows p) {
  auto y = matrix<T>(p.y, p.ldy);
  auto x = matrix<T>(p.x, p.ldx);
  ROWS(r) {
    int first = p.index[r], behind = p.until[r];
    float part = 1.0f / (float)(behind - first);
    COLUMNS(c, n) {
      float s[8] = {0, 0, 0, 0, 0, 0, 0, 0}, v[4][8];
      ROLLED for (int t = first; t < behind; t += 4) {
        UNROLL for (int k = 0; k < 4; k++) get8(v[k], x.at(t + k < behind ? t + k : t, c), n, x.at_once);
        UNROLL for (int k = 0; k < 4; k++) {
          if (t + k < behind) EIGHT(i) s[i] += v[k][i];
        }
      }
      EIGHT(i) s[i] *= part;
      put8(y.at(r, c), s, n, y.at_once);
    }
  }
}

// A block has four rows at a time, a warp every fourth output of them, a lane every
// 256th eight columns.
template <class T> DEV void score(Score p) {
  auto x = matrix<T>(p.x, p.ldx);
  bool at_once = wide(p.w, p.c);
  int lane = tid() & 31, end = p.header[p.at];
  for (int r = 4 * bid(); r < end; r += 4 * grid()) {
    for (int j = tid() >> 5; j < p.n; j += 4) {
      float s[4] = {0, 0, 0, 0};
      for (int c = 8 * lane; c < p.c; c += 256) {
        float w[8], v[8];
        get8(w, p.w + (long long)j * p.c + c, p.c - c, at_once);
        UNROLL for (int k = 0; k < 4; k++) {
          get8(v, x.at(r + k < end ? r + k : r, c), p.c - c, x.at_once);
          EIGHT(i) s[k] = fma(v[i], w[i], s[k]);
        }
      }
      UNROLL for (int k = 0; k < 4; k++) s[k] = warp_sum(s[k]) + (p.b ? p.b[j] : 0);
      if (lane < 4 && r + lane < end) {
        float v = lane == 0 ? s[0] : lane == 1 ? s[1] : lane == 2 ? s[2] : s[3];
        p.y[(long long)(r + lane) * p.n + j] = v;
      }
    }
  }
}

#define BOTH(NAME, ARGS)                                           \
  KERNEL BOUNDS(128, 7) void NAME##_bf16(ARGS p) { follow(); NAME<bf16>(p); } \
  KERNEL BOUNDS(128, 7) void NAME##_f32(ARGS p) { follow(); NAME<float>(p); }
BOTH(lookup, Rows)
BOTH(scale, Rows)
BOTH(activate, Rows)
BOTH(add, Rows)
BOTH(affine, Rows)
BOTH(rmsnorm, Rows)
BOTH(layernorm, Rows)
BOTH(rotate, Rows)
BOTH(neighbours, Rows)
BOTH(mean, Rows)
BOTH(score, Score)

// y in float32 of x in bfloat16.
KERNEL BOUNDS(128, 7) void widen_f32(Rows p) {
  follow();
  auto y = matrix<float>(p.y, p.ldy);
  auto x = matrix<bf16>(p.x, p.ldx);
  ROWS(r) COLUMNS(c, n) {
    float v[8];
    get8(v, x.at(r, c), n, x.at_once);
    put8(y.at(r, c), v, n, y.at_once);
  }
}
