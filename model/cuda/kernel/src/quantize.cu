// Rows of bfloat16 as e4m3 with a scale each, for the products of that: a block of 128 threads
// for a row, so that what becomes of it depends on it alone.
#include "args.h"

DEV float block_largest(float v) {
  SHARED static float part[4];
  UNROLL for (int m = 1; m < 32; m <<= 1) v = larger(v, swap(v, m));
  sync(); // others may still read what was there
  if ((tid() & 31) == 0) part[tid() >> 5] = v;
  sync();
  v = part[0];
  UNROLL for (int i = 1; i < 4; i++) v = larger(v, part[i]);
  return v;
}

DEV u32 four(const float *v) { // as e4m3, the nearest; what is beyond is the largest, NaN stays
  u16 low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(v[1]), "f"(v[0]));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(v[3]), "f"(v[2]));
  return (u32)low | (u32)high << 16;
}

KERNEL BOUNDS(128, 7) void quantize_bf16(Quantize p) {
  follow();
  const int end = p.header[p.at], from = p.from < 0 ? 0 : p.header[p.from];
  const bool at_once = wide((const bf16 *)p.x, p.ldx);
  for (int r = bid(); r < end; r += grid()) {
    const bf16 *x = (const bf16 *)p.x + (long long)(from + r) * p.ldx;
    u8 *y = (u8 *)p.y + (long long)(from + r) * p.ldy;
    float most = 1e-30f; // the scale of a row of zeros, too
    for (int c = 8 * tid(); c < p.n; c += 1024) {
      float v[8];
      get8(v, x + c, p.n - c, at_once);
      UNROLL for (int i = 0; i < 8; i++) most = larger(v[i] < 0 ? -v[i] : v[i], most);
    }
    most = block_largest(most);
    const float by = 448.0f / most; // the largest e4m3
    for (int c = 8 * tid(); c < p.k; c += 1024) {
      float v[8];
      get8(v, x + c, p.n - c, at_once);
      UNROLL for (int i = 0; i < 8; i++) v[i] *= by;
      asm volatile("st.global.v2.u32 [%0], {%1,%2};" ::"l"(y + c), "r"(four(v)), "r"(four(v + 4)) : "memory");
    }
    if (tid() == 0) *(float *)(y + p.k) = most / 448.0f;
  }
}
