// What becomes of a product's results, which lie in registers as wgmma and mma.sync leave
// them: d[4j..] are columns 8j+2q, +1 of a row and the same of the row 8 below, in the
// lane whose number ends in q.
#pragma once
#include "act.h"
#include "tensor.h"

// ---- activations, near enough for a bfloat16: errors are below 3e-7 of the argument's size

DEV float silu_near(float x) { return x * rcpnear(1.0f + exp2near(-1.4426950408889634f * x)); }
DEV float gelu_tanh_near(float x) { // x·½(1+tanh u) is x·σ(2u)
  float u2 = 1.5957691216057308f * fma(0.044715f * x * x, x, x);
  return x * rcpnear(1.0f + exp2near(-1.4426950408889634f * u2));
}
// Source of the tail: Abramowitz and Stegun 7.1.26.
DEV float gelu_near(float x) {
  float z = 0.7071067811865476f * (x < 0 ? -x : x), t = rcpnear(fma(0.3275911f, z, 1.0f));
  float y = fma(fma(fma(fma(1.061405429f, t, -1.453152027f), t, 1.421413741f), t, -0.284496736f), t,
                0.254829592f);
  float tail = 0.5f * (y * t) * exp2near(-1.4426950408889634f * (z * z)); // Φ(-|x|)
  return x * (x < 0 ? tail : 1.0f - tail);
}
DEV float relu_near(float x) { return x < 0 ? 0 : x; }
DEV float tanh_near(float x) {
  float a = x < 0 ? -x : x, e = exp2near(-2.8853900817779268f * a), y = (1.0f - e) * rcpnear(1.0f + e);
  // The difference would lose digits.
  if (a < 0.05f) y = fma(a * a * a, fma(a * a, 0.13333333f, -0.33333333f), a);
  return x < 0 ? -y : y;
}

#define EACH(f) UNROLL for (int i = 0; i < N; i++) d[i] = f(d[i]); break
template <int N> DEV void activate(float (&d)[N], int act) {
  switch (act) {
  case GELU: EACH(gelu_near);
  case GELU_TANH: EACH(gelu_tanh_near);
  case RELU: EACH(relu_near);
  case SILU: EACH(silu_near);
  case TANH: EACH(tanh_near);
  }
}
#undef EACH

// Eight columns of a gate alternate with the eight that it multiplies.
#define EACH(f) UNROLL for (int i = 0; i < N; i += 8) { \
    UNROLL for (int j = 0; j < 4; j++) d[i + j] = f(d[i + j]) * d[i + 4 + j]; } break
template <int N> DEV void gate(float (&d)[N], int act) {
  switch (act) {
  case GELU: EACH(gelu_near);
  case GELU_TANH: EACH(gelu_tanh_near);
  default: EACH(silu_near);
  }
}
#undef EACH

// ---- products of e4m3: a row of A ends with its scale. Widths and distances of rows count
// pairs of values, so that they are those of as many bfloat16.

DEV float scale_of_row(const Product &p, int row) {
  float r;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(r) : "l"((const u16 *)p.a + (u64)row * p.lda + p.k));
  return r;
}
template <int N> DEV void scale(float (&d)[N], const float (&rows)[2], const Product &p, int col, int q) {
  UNROLL for (int j = 0; j < N / 4; j++) {
    float s[2] = {0, 0};
    if (col + 8 * j < p.n) load2(s, p.scales + col + 8 * j + 2 * q);
    UNROLL for (int i = 0; i < 4; i++) d[4 * j + i] *= s[i & 1] * rows[i >> 1];
  }
}

// Adds to each of n columns, from column col of the matrix on, a value of its own.
template <int N> DEV void add_bias(float (&d)[N], const float *bias, int col, int n, int q) {
  if (!bias) return;
  UNROLL for (int j = 0; j < N / 4; j++) {
    float b[2] = {0, 0};
    if (col + 8 * j < n) load2(b, bias + col + 8 * j + 2 * q);
    UNROLL for (int i = 0; i < 4; i++) d[4 * j + i] += b[i & 1];
  }
}

// The rotation of a position for heads of D columns: the angles of columns 8j+2q, +1 as
// halves {cos, sin}. Turns of the Go package makes the table.
template <int D> DEV void turns_of(U4 (&t)[D / 32], const Product &p, int pos, int q) {
  UNROLL for (int g = 0; g < D / 32; g++)
    t[g] = load16((const U4 *)p.turn + (u64)pos * (D / 8) + D / 32 * q + g);
}

// Norms and rotations of H heads of D columns from head first on, in two rows.
template <int D, int H>
DEV void heads(float (&d)[D / 2 * H], const Product &p, int first, const U4 (&turns)[2][D / 32], int q) {
  UNROLL for (int h = 0; h < H; h++) {
    if (first + h >= p.qheads + p.kheads) continue; // a value
    const float *w = first + h < p.qheads ? p.qnorm : p.knorm;
    float scale[2] = {1, 1};
    if (w) {
      UNROLL for (int r = 0; r < 2; r++) {
        const float *e = d + D / 2 * h + 2 * r;
        float s0 = 0, s1 = 0;
        UNROLL for (int j = 0; j < D / 8; j++) {
          s0 = fma(e[4 * j], e[4 * j], s0);
          s1 = fma(e[4 * j + 1], e[4 * j + 1], s1);
        }
        s0 += s1;
        s0 += swap(s0, 1);
        s0 += swap(s0, 2);
        scale[r] = rsqrtnear(fma(s0, 1.0f / D, p.eps));
      }
    }
    UNROLL for (int j = 0; j < D / 16; j++) {
      float u[2] = {1, 1}, v[2] = {1, 1};
      if (w) {
        load2(u, w + 8 * j + 2 * q);
        load2(v, w + D / 2 + 8 * j + 2 * q);
      }
      UNROLL for (int r = 0; r < 2; r++) {
        const U4 &t = turns[r][j >> 1];
        u32 cs[2] = {j & 1 ? t.z : t.x, j & 1 ? t.w : t.y};
        float *e = d + D / 2 * h + 4 * j + 2 * r;
        UNROLL for (int i = 0; i < 2; i++) {
          float c = half(cs[i]) * scale[r], s = half(cs[i] >> 16) * scale[r];
          float x = e[i] * u[i], y = e[D / 4 + i] * v[i];
          e[i] = fma(x, c, -(y * s));
          e[D / 4 + i] = fma(y, c, x * s);
        }
      }
    }
  }
}
