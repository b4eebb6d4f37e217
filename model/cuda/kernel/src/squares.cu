// The sums of squares of every 32 columns of rows of bfloat16, as products leave them of what they
// store (product90.h): of rows that no product made, embeddings and those that were gathered.
#include "args.h"

KERNEL BOUNDS(128, 7) void squares_f32(Rows p) {
  follow();
  const bool at_once = wide((const bf16 *)p.x, p.ldx);
  for (int r = bid(), end = p.header[p.at]; r < end; r += grid()) {
    const bf16 *x = (const bf16 *)p.x + (long long)r * p.ldx;
    for (int begin = 0; begin < p.n; begin += 1024) {
      const int c = begin + 8 * tid();
      float v[8], s = 0;
      get8(v, x + c, p.n - c, at_once);
      UNROLL for (int i = 0; i < 8; i++) s = fma(v[i], v[i], s);
      s += swap(s, 1);
      s += swap(s, 2);
      if (tid() % 4 == 0 && c < p.n) ((float *)p.y)[(long long)r * p.ldy + c / 32] = s;
    }
  }
}
