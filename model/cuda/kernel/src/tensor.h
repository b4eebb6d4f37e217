// Tensor cores and what feeds them: Hopper's barriers in shared memory, its copy engine
// and wgmma; mma.sync, ldmatrix and cp.async of cards from Ampere on.
#pragma once
#include "args.h"

// Address of a generic pointer in the window of shared memory.
DEV u32 shared_address(const void *p) {
  u64 a;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(a) : "l"(p));
  return (u32)a;
}

// ---- numbers, to a few units in the last place

DEV float rcpnear(float x) { float r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
DEV float rsqrtnear(float x) { float r; asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
DEV float maximum(float a, float b) {
  float r;
  asm("max.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
DEV float half(u32 x) { // of the low 16 bits
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"((u16)x));
  return r;
}
// two values that nothing writes while the kernel runs
DEV void load2(float (&v)[2], const float *p) {
  asm("ld.global.nc.v2.f32 {%0,%1}, [%2];" : "=f"(v[0]), "=f"(v[1]) : "l"(p));
}
DEV int load1(const int *p) {
  int r;
  asm volatile("ld.global.s32 %0, [%1];" : "=r"(r) : "l"(p));
  return r;
}
DEV U4 load_shared16(u32 a) {
  U4 r;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "r"(a) : "memory");
  return r;
}
DEV void store_shared16(u32 a, U4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};"
      ::"r"(a), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
DEV void store_shared(u32 a, float v) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(a), "f"(v) : "memory"); }
DEV float load_shared(u32 a) {
  float r;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(r) : "r"(a) : "memory");
  return r;
}
DEV void warp_sync() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

// Transposes a 4x4 matrix of words, of which each of four neighbouring lanes has a column.
DEV void transpose4(u32 (&v)[4], int lane) {
  const bool odd = lane & 1, upper = lane & 2;
  u32 a = swap(odd ? v[0] : v[1], 1), b = swap(odd ? v[2] : v[3], 1);
  if (odd) v[0] = a, v[2] = b; else v[1] = a, v[3] = b;
  a = swap(upper ? v[0] : v[2], 2);
  b = swap(upper ? v[1] : v[3], 2);
  if (upper) v[0] = a, v[1] = b; else v[2] = a, v[3] = b;
}

// ---- barriers in shared memory (mbarrier)

DEV void barrier_init(u32 b, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(arrivals) : "memory");
}
DEV void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEV void barrier_expect(u32 b, u32 bytes) { // arrives, and so many bytes must come as well
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(bytes) : "memory");
}
DEV void barrier_arrive(u32 b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory");
}
// At the same barrier of another block of the cluster. Only reads go before it: with
// .release.cluster it would cost a fence of all memory.
DEV void barrier_arrive(u32 b, u32 block) {
  asm volatile("{ .reg .b32 ra; mapa.shared::cluster.u32 ra, %0, %1; "
      "mbarrier.arrive.shared::cluster.b64 _, [ra]; }"
      ::"r"(b), "r"(block) : "memory");
}
// A wait for a parity passes while the phase before is under way: who waits must never be
// a whole phase ahead.
DEV void barrier_wait(u32 b, u32 parity) {
  asm volatile("{ .reg .pred p; W_%=: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%0], %1; "
      "@!p bra W_%=; }"
      ::"r"(b), "r"(parity) : "memory");
}
DEV void cluster_sync() {
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
}
DEV u32 cluster_rank() { u32 r; asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); return r; }

// ---- the copy engine: boxes of 64 columns, rows of 128 bytes swizzled by 128

DEV void map_acquire(u64 map) {
  asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}
DEV void box_load(u32 to, u64 map, u32 barrier, int col, int row) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4}], [%2];"
      ::"r"(to), "l"(map), "r"(barrier), "r"(col), "r"(row) : "memory");
}
// Into several blocks of the cluster.
DEV void box_load(u32 to, u64 map, u32 barrier, int col, int row, u16 blocks) {
  asm volatile(""
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%3, %4}], [%2], %5;"
      ::"r"(to), "l"(map), "r"(barrier), "r"(col), "r"(row), "h"(blocks) : "memory");
}
DEV void box_store(u64 map, u32 from, int col, int row) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
      ::"l"(map), "r"(from), "r"(col), "r"(row) : "memory");
}
DEV void boxes_read() { // all that this thread stores have been read from shared memory
  asm volatile("cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;" ::: "memory");
}
// What this thread stored in shared memory may be read by the copy engine and by wgmma.
DEV void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- wgmma

DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEV void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
template <int N> DEV void registers_less() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEV void registers_more() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// Descriptor of a tile with rows of 128 bytes, swizzled by 128: K is contiguous.
DEV u64 along_k(u32 a) { return (u64)((a & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62; }
// The same where N is contiguous: lead is the distance in bytes of 64 columns.
DEV u64 along_n(u32 a, u32 lead) {
  return (u64)((a & 0x3ffff) >> 4) | (u64)(lead >> 4) << 16 | (u64)64 << 32 | (u64)1 << 62;
}

// Operands of the instructions that follow: the registers of the results come first.
#define OUT32                                             \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define OUT64                                                         \
  OUT32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
        "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define OUT48 OUT32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define OUT96                                                                     \
  OUT64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"        \
        "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define OUT16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define OUT128                                                                    \
  OUT64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"        \
        "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"         \
        "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
        "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define D4(i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define D16(i) D4(i), D4((i) + 4), D4((i) + 8), D4((i) + 12)
#define D32(i) D16(i), D16((i) + 16)
#define D48(i) D32(i), D16((i) + 32)
#define D64(i) D32(i), D32((i) + 32)
#define D96(i) D64(i), D32((i) + 64)
#define D128(i) D64(i), D64((i) + 64)

// d[64xN] = a·bᵀ (+ d), both in shared memory, K contiguous. d must have been set even if
// nothing is added to it: ptxas would put all wgmma one behind the other.
#define WGMMA(N, OUT, D, A, B, P)                                                            \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #P ", 0; "                                 \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" OUT "}, "         \
               "%" #A ", %" #B ", p, 1, 1, 0, 0; }" : D : "l"(a), "l"(b), "r"(add))
DEV void wgmma(float (&d)[128], u64 a, u64 b, int add) { WGMMA(256, OUT128, D128(0), 128, 129, 130); }
DEV void wgmma(float (&d)[96], u64 a, u64 b, int add) { WGMMA(192, OUT96, D96(0), 96, 97, 98); }
DEV void wgmma(float (&d)[64], u64 a, u64 b, int add) { WGMMA(128, OUT64, D64(0), 64, 65, 66); }
DEV void wgmma(float (&d)[32], u64 a, u64 b, int add) { WGMMA(64, OUT32, D32(0), 32, 33, 34); }
DEV void wgmma(float (&d)[16], u64 a, u64 b, int add) { WGMMA(32, OUT16, D16(0), 16, 17, 18); }

// d[64xN] += a·b, a in registers, b in shared memory with N contiguous.
#define WGMMA_REGISTERS(N, OUT, D, A0, A1, A2, A3, B)                                        \
  asm volatile("{ .reg .pred p; setp.eq.b32 p, 0, 0; "                                       \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" OUT "}, "         \
               "{%" #A0 ",%" #A1 ",%" #A2 ",%" #A3 "}, %" #B ", p, 1, 1, 1; }"               \
               : D : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
DEV void wgmma(float (&d)[128], const u32 *a, u64 b) {
  WGMMA_REGISTERS(256, OUT128, D128(0), 128, 129, 130, 131, 132);
}
DEV void wgmma(float (&d)[48], const u32 *a, u64 b) {
  WGMMA_REGISTERS(96, OUT48, D48(0), 48, 49, 50, 51, 52);
}
DEV void wgmma(float (&d)[64], const u32 *a, u64 b) {
  WGMMA_REGISTERS(128, OUT64, D64(0), 64, 65, 66, 67, 68);
}
DEV void wgmma(float (&d)[32], const u32 *a, u64 b) {
  WGMMA_REGISTERS(64, OUT32, D32(0), 32, 33, 34, 35, 36);
}

// d[64xN] = a·bᵀ (+ d) of e4m3, both in shared memory, K contiguous: 32 of it, which are as many
// bytes as 16 of bfloat16.
#define WGMMA_E4M3(N, OUT, D, A, B, P)                                                       \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #P ", 0; "                                 \
               "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" OUT "}, "         \
               "%" #A ", %" #B ", p, 1, 1; }" : D : "l"(a), "l"(b), "r"(add))
DEV void wgmma_e4m3(float (&d)[64], u64 a, u64 b, int add) { WGMMA_E4M3(128, OUT64, D64(0), 64, 65, 66); }
DEV void wgmma_e4m3(float (&d)[32], u64 a, u64 b, int add) { WGMMA_E4M3(64, OUT32, D32(0), 32, 33, 34); }

// ---- matrices of 8x8 and mma.sync

DEV void matrix_store(u32 a, u32 x, u32 y, u32 z, u32 w) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
      ::"r"(a), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
DEV void matrix_load(u32 (&r)[4], u32 a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
}
DEV void matrix_load_transposed(u32 (&r)[4], u32 a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
}
// d[16x8] += a[16x16]·b[16x8]
DEV void mma(float *d, const u32 *a, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// d[16x8] += a[16x32]·b[32x8] of e4m3
// In other registers than the sums that it adds to: cards that lack it are given two products of
// float16 and two additions, the first of which ptxas 12.4 lets overwrite what the second adds.
DEV void mma_e4m3(float *d, const u32 *a, u32 b0, u32 b1) {
  float c[4];
  asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
    : "=&f"(c[0]), "=&f"(c[1]), "=&f"(c[2]), "=&f"(c[3])
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1),
      "f"(d[0]), "f"(d[1]), "f"(d[2]), "f"(d[3]));
  UNROLL for (int i = 0; i < 4; i++) d[i] = c[i];
}

// Copies 16 bytes to shared memory, or zeros when not there, and does not wait.
DEV void copy16(u32 to, const void *from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
      ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}
DEV void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEV void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
