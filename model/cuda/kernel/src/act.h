// Functions to float32's accuracy, as there is no library. The coefficients are
// Chebyshev interpolations; the errors, in units of the result, are those of the tests.
#pragma once
#include "dev.h"

// (e^r − 1 − r) / r² for |r| ≤ ln 2 / 2
DEV float exp_rest(float r) {
  float q = fma(1.393373322e-03f, r, 8.363235385e-03f);
  q = fma(q, r, 4.166646417e-02f);
  q = fma(q, r, 1.666657664e-01f);
  return fma(q, r, 5.000000014e-01f);
}
// e^x, down to denormals: within 2e-7
DEV float expo(float x) {
  x = x < -104.0f ? -104.0f : x; // NaN stays
  x = x > 89.0f ? 89.0f : x;
  float t = fma(x, 1.4426950409f, 12582912.0f); // rounds to a whole number in the low bits
  int i = (int)bitsof(t) - (int)bitsof(12582912.0f);
  float n = t - 12582912.0f;
  float r = fma(n, 2.12194440e-4f, fma(n, -0.693359375f, x));
  float v = fma(r * r, exp_rest(r), r) + 1.0f;
  int a = i >> 1, b = i - a; // 2^i may be no number
  return v * floatof((u32)(127 + a) << 23) * floatof((u32)(127 + b) << 23);
}
// e^x − 1 for x ≤ 0: within 3e-7
DEV float expo_less_1(float x) {
  if (x < -0.5f) return expo(x) - 1.0f;
  float q = fma(1.648449879e-04f, x, 1.370662927e-03f);
  q = fma(q, x, 8.328691161e-03f);
  q = fma(q, x, 4.166612841e-02f);
  q = fma(q, x, 1.666666438e-01f);
  q = fma(q, x, 4.999999998e-01f);
  return fma(x * x, q, x);
}
// within 3e-7
DEV float tanh(float x) {
  float a = x < 0 ? -x : x;
  if (a < 0.6f) {
    float u = x * x;
    float q = fma(-6.276390147e-03f, u, 2.111621603e-02f);
    q = fma(q, u, -5.387513875e-02f);
    q = fma(q, u, 1.333292401e-01f);
    q = fma(q, u, -3.333333043e-01f);
    return fma(x * u, q, x);
  }
  float y = 1.0f - 2.0f / (expo(2.0f * a) + 1.0f);
  return x < 0 ? -y : y;
}
// the standard normal distribution function: within 1e-7 absolute. Below 0 it is
// e^(−t²/2) times a slow function of t, which is a polynomial of (t − 3)/(t + 3).
DEV float normal(float x) {
  float t = x < 0 ? -x : x;
  t = t > 14.5f ? 14.5f : t;
  float u = (t - 3.0f) / (t + 3.0f);
  float q = fma(4.489429613e-05f, u, 8.898135393e-06f);
  q = fma(q, u, -4.699114451e-04f);
  q = fma(q, u, -3.377155666e-04f);
  q = fma(q, u, 2.991973555e-03f);
  q = fma(q, u, 1.154394361e-03f);
  q = fma(q, u, -2.272690672e-02f);
  q = fma(q, u, 4.516471072e-02f);
  q = fma(q, u, -1.643233962e-02f);
  q = fma(q, u, -9.652678505e-02f);
  q = fma(q, u, 4.860557951e-01f);
  q = q / (t + 1.0f) * expo(-0.5f * t * t);
  return x < 0 ? q : 1.0f - q;
}

enum { NONE, GELU, GELU_TANH, RELU, SILU, TANH, LEAKY_RELU, SELU }; // as nn.Activation

DEV float activation(float x, int act) {
  switch (act) {
  case GELU: return x * normal(x);
  case GELU_TANH: // 1 + tanh y = 2 / (1 + e^−2y)
    return x / (1.0f + expo(-1.5957691216f * fma(0.044715f * x * x, x, x)));
  case RELU: return x <= 0 ? 0 : x;
  case SILU: return x / (1.0f + expo(-x));
  case TANH: return tanh(x);
  case LEAKY_RELU: return x < 0 ? 0.01f * x : x;
  case SELU: return x > 0 ? 1.050700987f * x : 1.758099341f * expo_less_1(x);
  }
  return x;
}
