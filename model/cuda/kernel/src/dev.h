// What the kernels need of CUDA, without an SDK: clang++ -x cuda -nocudainc -nocudalib.
#pragma once

#define KERNEL extern "C" __attribute__((global))
#define DEV static __attribute__((device)) __attribute__((always_inline)) inline
#define BOUNDS(threads, blocks) __attribute__((launch_bounds(threads, blocks)))
#define SHARED __attribute__((shared))
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct bf16 { u16 bits; }; // a bfloat16

struct alignas(16) U4 { u32 x, y, z, w; };
struct alignas(16) F4 { float x, y, z, w; };
struct alignas(8) F2 { float x, y; };

DEV int tid() { return (int)__nvvm_read_ptx_sreg_tid_x(); }
DEV int bid() { return (int)__nvvm_read_ptx_sreg_ctaid_x(); }
DEV int grid() { return (int)__nvvm_read_ptx_sreg_nctaid_x(); }
DEV void sync() { asm volatile("bar.sync 0;" ::: "memory"); }

// ---- numbers

DEV float floatof(u32 x) { return __builtin_bit_cast(float, x); }
DEV u32 bitsof(float x) { return __builtin_bit_cast(u32, x); }
DEV float low(u32 x) { return floatof(x << 16); } // of a pair of bfloat16
DEV float high(u32 x) { return floatof(x & 0xffff0000u); }
DEV u32 pair(float lo, float hi) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}

// Compilers fuse no product with a sum (-ffp-contract=off), so that all variants of a
// kernel give the same bits; this does.
DEV float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEV float larger(float a, float b) { return a > b ? a : b; } // b when either is NaN
DEV float root(float x) { float r; asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
DEV float exp2near(float x) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
DEV bool isnan(float x) { return x != x; }

// A value of a row, in float32.
DEV float get(const float *p) { return *p; }
DEV float get(const bf16 *p) { return floatof((u32)p->bits << 16); }
DEV void put(float *p, float v) { *p = v; }
DEV void put(bf16 *p, float v) { p->bits = (u16)pair(v, 0); }
DEV float rounded(const float *, float v) { return v; } // to the numbers that p points to
DEV float rounded(const bf16 *, float v) { return low(pair(v, 0)); }

// ---- threads of a warp

DEV u32 swap(u32 v, int mask) { // with the lane whose number differs in mask
  u32 r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(r) : "r"(v), "r"(mask));
  return r;
}
DEV float swap(float v, int mask) { return floatof(swap(bitsof(v), mask)); }
DEV float warp_sum(float v) {
  UNROLL for (int m = 1; m < 32; m <<= 1) v += swap(v, m);
  return v;
}
// warps must all call it; every thread gets the same bits
template <int WARPS> DEV float block_sum(float v) {
  SHARED static float part[WARPS];
  v = warp_sum(v);
  sync(); // others may still read what was there
  if ((tid() & 31) == 0) part[tid() >> 5] = v;
  sync();
  v = part[0];
  UNROLL for (int i = 1; i < WARPS; i++) v += part[i];
  return v;
}

// ---- memory

DEV U4 load16(const void *p) {
  U4 r;
  asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p) : "memory");
  return r;
}
DEV void store16(void *p, U4 v) {
  asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};"
      ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
DEV bool aligned(const void *p) { return ((u64)p & 15) == 0; }

// Eight values of a row that ends after n more; those behind are 0. wide says that they
// lie at a multiple of 16 bytes and may be read at once.
DEV void get8(float (&v)[8], const float *p, int n, bool wide) {
  if (wide && n >= 8) {
    U4 a = load16(p), b = load16(p + 4);
    v[0] = floatof(a.x), v[1] = floatof(a.y), v[2] = floatof(a.z), v[3] = floatof(a.w);
    v[4] = floatof(b.x), v[5] = floatof(b.y), v[6] = floatof(b.z), v[7] = floatof(b.w);
    return;
  }
  UNROLL for (int i = 0; i < 8; i++) v[i] = i < n ? get(p + i) : 0;
}
DEV void get8(float (&v)[8], const bf16 *p, int n, bool wide) {
  if (wide && n >= 8) {
    U4 a = load16(p);
    v[0] = low(a.x), v[1] = high(a.x), v[2] = low(a.y), v[3] = high(a.y);
    v[4] = low(a.z), v[5] = high(a.z), v[6] = low(a.w), v[7] = high(a.w);
    return;
  }
  UNROLL for (int i = 0; i < 8; i++) v[i] = i < n ? get(p + i) : 0;
}
DEV void put8(float *p, const float (&v)[8], int n, bool wide) {
  if (wide && n >= 8) {
    store16(p, U4{bitsof(v[0]), bitsof(v[1]), bitsof(v[2]), bitsof(v[3])});
    store16(p + 4, U4{bitsof(v[4]), bitsof(v[5]), bitsof(v[6]), bitsof(v[7])});
    return;
  }
  UNROLL for (int i = 0; i < 8; i++) if (i < n) put(p + i, v[i]);
}
DEV void put8(bf16 *p, const float (&v)[8], int n, bool wide) {
  if (wide && n >= 8) {
    store16(p, U4{pair(v[0], v[1]), pair(v[2], v[3]), pair(v[4], v[5]), pair(v[6], v[7])});
    return;
  }
  UNROLL for (int i = 0; i < 8; i++) if (i < n) put(p + i, v[i]);
}
// whether rows of a matrix may be read and written by get8 and put8 at once
template <class T> DEV bool wide(const T *p, int ld) { return aligned(p) && ld % (16 / (int)sizeof(T)) == 0; }

// With programmatic launch, which Hopper has, a kernel may start before the one ahead of it ends: it lets
// the next one start, and waits before it touches anything that kernels write.
DEV void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEV void await_last() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DEV void follow() {
  let_next_start();
  await_last();
}
