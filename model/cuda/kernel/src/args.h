// Parameters of the kernels: args.go says what they mean, and a test that both are equal.
#pragma once
#include "dev.h"

struct Rows {
  void *y;
  const void *x, *z;
  const float *w, *b;
  const int *index, *until;
  const float *turn;
  const int *header;
  int at, n, ldy, ldx, ldz, heads, pairs, act, kernel;
  float eps, factor;
  int pad;
};
struct Score {
  float *y;
  const void *x;
  const float *w, *b;
  const int *header;
  int at, c, n, ldx;
};
struct Product {
  const void *a, *w;
  void *c;
  const void *r;
  const float *bias;
  const int *header;
  u64 amap, wmap, cmap, rmap;
  int at, from, n, k, lda, ldc, ldr, act;
  const int *pos;
  const void *turn;
  const float *qnorm, *knorm;
  int qheads, kheads;
  float eps, floor;
  const float *scales;
};
struct Task { int row, n, at, prefix, shared, own, keys, pad; };
struct Attend {
  const void *q, *k, *v;
  void *o;
  const Task *tasks;
  const int *header;
  u64 qmap, kvmap;
  int at, heads, kvheads, d, ldq, ldkv, ldo, qcol, kcol, vcol;
  int causal, window, reach;
  float scale, softcap;
  int pad;
  const void *pk, *pq;
  const int *bucket;
  int rows, most;
};
struct Route {
  const float *logits;
  int *place;
  float *weight;
  int *row, *expert, *header;
  int at, experts, chosen, top, normalized, counts, offsets, pad;
};
struct Combine {
  void *y;
  const void *z, *x;
  const int *place;
  const float *weight;
  const int *header;
  int at, n, taken, ldy, ldz, ldx;
};
struct Quantize {
  void *y;
  const void *x;
  const int *header;
  int at, from, n, k, ldy, ldx;
};
