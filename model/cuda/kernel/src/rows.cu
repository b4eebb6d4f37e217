// Kernels that work on rows one by one, a block of 128 threads for each. A thread has
// the columns 8t to 8t+7 and every 1024th behind, however they are read, so that sums
// have one order.
#include "args.h"

// each calls f(r, c, n) for every eight columns of the rows of a batch: n are left
template <class F> DEV void each(const Rows &p, F f) {
  int m = p.header[p.at];
  for (int r = bid(); r < m; r += grid()) {
    for (int c = 8 * tid(); c < p.n; c += 1024) f(r, c, p.n - c);
  }
}

template <class T> DEV void lookup(const Rows &p) {
  T *y = (T *)p.y;
  const T *x = (const T *)p.x, *z = (const T *)p.z;
  bool wy = wide(y, p.ldy), wx = wide(x, p.ldx), wz = wide(z, p.ldz);
  each(p, [&](int r, int c, int n) {
    float v[8], a[8];
    get8(v, x + (u64)p.index[r] * p.ldx + c, n, wx);
    if (z) {
      get8(a, z + (u64)r * p.ldz + c, n, wz);
      UNROLL for (int i = 0; i < 8; i++) v[i] = a[i] + v[i];
    }
    put8(y + (u64)r * p.ldy + c, v, n, wy);
  });
}
KERNEL BOUNDS(128, 8) void lookup_bf16(Rows p) { lookup<bf16>(p); }
KERNEL BOUNDS(128, 8) void lookup_f32(Rows p) { lookup<float>(p); }
