package ptx

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program wraps statements in a kernel that reads its arguments a, b, c into
// %x, %y, %z (64 bits) and their low halves %a, %b, %c, and returns %r (32 bits),
// %q (64 bits), %p and %h (16 bits) at out.
func program(body string) string {
	return `
.version 8.3
.target sm_90a
.address_size 64
.visible .entry f(
	.param .u64 f_param_0,
	.param .u64 f_param_1,
	.param .u64 f_param_2,
	.param .u64 f_param_3
)
{
	.reg .pred %p, %pt, %pf;
	.reg .b16 %h<4>;
	.reg .b32 %a, %b, %c, %r, %t<9>;
	.reg .f32 %f<9>;
	.reg .b64 %x, %y, %z, %q, %out, %rd<9>;
	.reg .f64 %fd<4>;
	ld.param.u64 %out, [f_param_0];
	ld.param.u64 %x, [f_param_1];
	ld.param.u64 %y, [f_param_2];
	ld.param.u64 %z, [f_param_3];
	cvt.u32.u64 %a, %x;
	cvt.u32.u64 %b, %y;
	cvt.u32.u64 %c, %z;
	mov.b32 %r, 0;
	mov.b64 %q, 0;
	setp.eq.s32 %p, %r, 1;
	setp.eq.s32 %pt, %r, 0;
	` + body + `
	st.global.u64 [%out], %q;
	st.global.u32 [%out+8], %r;
	selp.u32 %t8, 1, 0, %p;
	st.global.u32 [%out+12], %t8;
	ret;
}
`
}

// result is what the wrapped statements made of their arguments.
type result struct {
	q    uint64
	r, p uint32
}

func eval(t *testing.T, body string, x, y, z uint64) result {
	t.Helper()
	mod, err := Parse(program(body))
	require.NoError(t, err)
	m := New(1)
	out := m.Alloc(16)
	require.NoError(t, m.Launch(mod.Kernel("f"), Grid{Blocks: 1, Threads: 32}, Params(out, x, y, z)))
	return result{Take[uint64](m, out, 1)[0], Take[uint32](m, out+8, 1)[0], Take[uint32](m, out+12, 1)[0]}
}

func fb(f float32) uint64 { return bits32(f) }

func TestInstructionsGiveWhatTheISASays(t *testing.T) {
	neg := func(n int64) uint64 { return uint64(n) }
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		code    string
		x, y, z uint64
		want    result
	}{
		{"add.s32 %r, %a, %b;", 0xffffffff, 2, 0, result{r: 1}},
		{"add.s64 %q, %x, -8;", 4, 0, 0, result{q: neg(-4)}},
		{"sub.u32 %r, %a, %b;", 1, 2, 0, result{r: 0xffffffff}},
		{"mul.lo.s32 %r, %a, %b;", neg(-3), 5, 0, result{r: uint32(0xfffffff1)}},
		{"mul.hi.s32 %r, %a, %b;", neg(-3), 5, 0, result{r: 0xffffffff}},
		{"mul.hi.u32 %r, %a, %b;", 0xfffffffd, 5, 0, result{r: 4}},
		{"mul.wide.s32 %q, %a, %b;", neg(-3), 5, 0, result{q: neg(-15)}},
		{"mul.wide.u32 %q, %a, %b;", 0xfffffffd, 5, 0, result{q: 5 * 0xfffffffd}},
		{"mul.hi.u64 %q, %x, %y;", 1 << 63, 6, 0, result{q: 3}},
		{"mul.hi.s64 %q, %x, %y;", neg(-4), 3, 0, result{q: math.MaxUint64}},
		{"mad.lo.s32 %r, %a, %b, %c;", 3, 4, 5, result{r: 17}},
		{"mad.wide.s32 %q, %a, %b, %z;", neg(-1), 4, 5, result{q: 1}},
		{"div.s32 %r, %a, %b;", neg(-7), 2, 0, result{r: uint32(0xfffffffd)}},
		{"rem.s32 %r, %a, %b;", neg(-7), 2, 0, result{r: 0xffffffff}},
		{"div.u32 %r, %a, %b;", 0xfffffff9, 2, 0, result{r: 0x7ffffffc}},
		{"rem.u64 %q, %x, %y;", 17, 5, 0, result{q: 2}},
		{"div.u32 %r, %a, %b;", 7, 0, 0, result{r: 0xffffffff}},
		{"min.s32 %r, %a, %b;", neg(-7), 2, 0, result{r: 0xfffffff9}},
		{"min.u32 %r, %a, %b;", neg(-7), 2, 0, result{r: 2}},
		{"max.s32 %r, %a, %b;", neg(-7), 2, 0, result{r: 2}},
		{"abs.s32 %r, %a;", neg(-7), 0, 0, result{r: 7}},
		{"neg.s32 %r, %a;", 7, 0, 0, result{r: 0xfffffff9}},
		{"not.b32 %r, %a;", 7, 0, 0, result{r: 0xfffffff8}},
		{"and.b32 %r, %a, 12;", 10, 0, 0, result{r: 8}},
		{"or.b64 %q, %x, %y;", 10, 5, 0, result{q: 15}},
		{"xor.b32 %r, %a, %b;", 10, 6, 0, result{r: 12}},
		{"shl.b32 %r, %a, %b;", 3, 31, 0, result{r: 1 << 31}},
		{"shl.b32 %r, %a, %b;", 3, 32, 0, result{}},
		{"shr.u32 %r, %a, %b;", 0x80000000, 31, 0, result{r: 1}},
		{"shr.s32 %r, %a, %b;", 0x80000000, 40, 0, result{r: 0xffffffff}},
		{"shr.s64 %q, %x, %b;", 1 << 63, 63, 0, result{q: math.MaxUint64}},
		{"bfe.u32 %r, %a, 4, 8;", 0xabcd, 0, 0, result{r: 0xbc}},
		{"bfe.s32 %r, %a, 4, 8;", 0xabcd, 0, 0, result{r: 0xffffffbc}},
		{"popc.b32 %r, %a;", 0xff01, 0, 0, result{r: 9}},
		{"clz.b32 %r, %a;", 0xff01, 0, 0, result{r: 16}},
		{"brev.b32 %r, %a;", 1, 0, 0, result{r: 1 << 31}},
		{"prmt.b32 %r, %a, %b, 0x5410;", 0x33221100, 0x77665544, 0, result{r: 0x55441100}},
		{"lop3.b32 %r, %a, %b, %c, 0x96;", 0xf0, 0xcc, 0xaa, result{r: 0x96}},
		{"shf.l.wrap.b32 %r, %a, %b, 8;", 0x11223344, 0x55667788, 0, result{r: 0x66778811}},
		{"shf.r.wrap.b32 %r, %a, %b, 8;", 0x11223344, 0x55667788, 0, result{r: 0x88112233}},
		{"selp.b32 %r, %a, %b, %pt;", 1, 2, 0, result{r: 1}},
		{"selp.b64 %q, %x, %y, %p;", 1, 2, 0, result{q: 2}},
		{"setp.lt.s32 %p, %a, %b;", neg(-1), 1, 0, result{p: 1}},
		{"setp.lt.u32 %p, %a, %b;", neg(-1), 1, 0, result{}},
		{"setp.hs.u32 %p, %a, %b;", 1, 1, 0, result{p: 1}},
		{"setp.ne.b64 %p, %x, %y;", 1 << 40, 0, 0, result{p: 1}},
		{"setp.lt.f32 %p, %a, %b;", fb(-1), fb(1), 0, result{p: 1}},
		{"setp.ne.f32 %p, %a, %b;", fb(float32(math.NaN())), fb(1), 0, result{}},
		{"setp.neu.f32 %p, %a, %b;", fb(float32(math.NaN())), fb(1), 0, result{p: 1}},
		{"setp.nan.f32 %p, %a, %a;", fb(float32(math.NaN())), 0, 0, result{p: 1}},
		{"setp.gt.and.s32 %p, %a, %b, %pt;", 2, 1, 0, result{p: 1}},
		{"setp.gt.or.s32 %p, %a, %b, !%pt;", 1, 1, 0, result{}},
		{"setp.gt.s32 %pf|%p, %a, %b;", 1, 1, 0, result{p: 1}},
		{"and.pred %p, %pt, %pt;", 0, 0, 0, result{p: 1}},
		{"xor.pred %p, %pt, %pt;", 0, 0, 0, result{}},
		{"not.pred %p, %pt;", 0, 0, 0, result{}},
		{"mov.pred %p, -1;", 0, 0, 0, result{p: 1}},
		{"add.rn.f32 %r, %a, %b;", fb(1.5), fb(2), 0, result{r: uint32(fb(3.5))}},
		{"sub.f32 %r, %a, %b;", fb(1.5), fb(2), 0, result{r: uint32(fb(-0.5))}},
		{"mul.rn.f32 %r, %a, 0f40000000;", fb(1.5), 0, 0, result{r: uint32(fb(3))}},
		{"fma.rn.f32 %r, %a, %b, %c;", fb(1.5), fb(2), fb(1), result{r: uint32(fb(4))}},
		{"div.rn.f32 %r, %a, %b;", fb(1), fb(3), 0, result{r: uint32(fb(1.0 / 3))}},
		{"div.full.f32 %r, %a, %b;", fb(1), fb(3), 0, result{r: uint32(fb(1.0 / 3))}},
		{"max.f32 %r, %a, %b;", fb(float32(math.NaN())), fb(3), 0, result{r: uint32(fb(3))}},
		{"min.f32 %r, %a, %b;", fb(1), fb(float32(math.NaN())), 0, result{r: uint32(fb(1))}},
		{"neg.f32 %r, %a;", fb(1), 0, 0, result{r: uint32(fb(-1))}},
		{"abs.f32 %r, %a;", fb(-1), 0, 0, result{r: uint32(fb(1))}},
		{"copysign.f32 %r, %a, %b;", fb(-1), fb(2), 0, result{r: uint32(fb(-2))}},
		{"ex2.approx.ftz.f32 %r, %a;", fb(3), 0, 0, result{r: uint32(fb(8))}},
		{"ex2.approx.ftz.f32 %r, %a;", fb(-130), 0, 0, result{}},
		{"lg2.approx.f32 %r, %a;", fb(8), 0, 0, result{r: uint32(fb(3))}},
		{"rcp.approx.ftz.f32 %r, %a;", fb(4), 0, 0, result{r: uint32(fb(0.25))}},
		{"rsqrt.approx.f32 %r, %a;", fb(4), 0, 0, result{r: uint32(fb(0.5))}},
		{"sqrt.rn.f32 %r, %a;", fb(4), 0, 0, result{r: uint32(fb(2))}},
		{"tanh.approx.f32 %r, %a;", fb(inf), 0, 0, result{r: uint32(fb(1))}},
		{"cvt.rn.bf16x2.f32 %r, %a, %b;", fb(1), fb(2), 0, result{r: 0x3f804000}},
		{"cvt.rn.satfinite.e4m3x2.f32 %h0, %a, %b; cvt.u32.u16 %r, %h0;", fb(-1), fb(500), 0, result{r: 0xb87e}},
		{"cvt.rn.satfinite.e4m3x2.f32 %h0, %a, %b; cvt.u32.u16 %r, %h0;", fb(float32(math.NaN())), fb(1.0 / 1024), 0, result{r: 0x7f00}},
		{"cvt.rn.bf16.f32 %h0, %a; cvt.u32.u16 %r, %h0;", fb(1.00390625), 0, 0, result{r: 0x3f80}},
		{"cvt.u16.u32 %h0, %a; cvt.f32.f16 %r, %h0;", 0x3c00, 0, 0, result{r: uint32(fb(1))}},
		{"cvt.rn.f16.f32 %h0, %a; cvt.u32.u16 %r, %h0;", fb(65519), 0, 0, result{r: 0x7bff}},
		{"cvt.rn.f32.s32 %r, %a;", neg(-2), 0, 0, result{r: uint32(fb(-2))}},
		{"cvt.rn.f32.u64 %r, %x;", 1 << 40, 0, 0, result{r: uint32(fb(1 << 40))}},
		{"cvt.rzi.s32.f32 %r, %a;", fb(-2.7), 0, 0, result{r: uint32(0xfffffffe)}},
		{"cvt.rni.s32.f32 %r, %a;", fb(2.5), 0, 0, result{r: 2}},
		{"cvt.rmi.f32.f32 %r, %a;", fb(-2.5), 0, 0, result{r: uint32(fb(-3))}},
		{"cvt.s64.s32 %q, %a;", neg(-2), 0, 0, result{q: neg(-2)}},
		{"cvt.s32.s8 %r, %a;", 0x80, 0, 0, result{r: 0xffffff80}},
		{"cvt.f64.f32 %fd0, %a; cvt.rn.f32.f64 %r, %fd0;", fb(2.5), 0, 0, result{r: uint32(fb(2.5))}},
		{"mov.b32 {%h0, %h1}, %a; mov.b32 %r, {%h1, %h0};", 0x12345678, 0, 0, result{r: 0x56781234}},
		{"mov.b64 {_, %r}, %x;", 5 << 32, 0, 0, result{r: 5}},
		{"mov.b64 %q, {%a, %b};", 1, 2, 0, result{q: 2<<32 | 1}},
		{"{ .reg .b32 ra; mov.b32 ra, %a; add.u32 %r, ra, 1; }", 4, 0, 0, result{r: 5}},
		{"mov.u32 %r, %ntid.x;", 0, 0, 0, result{r: 32}},
		{"shfl.sync.idx.b32 %r|%p, %a, 0, 31, -1;", 7, 0, 0, result{r: 7, p: 1}},
		{"vote.sync.ballot.b32 %r, %pt, -1;", 0, 0, 0, result{r: 0xffffffff}},
		{"vote.sync.all.pred %p, %pt, 0xffffffff;", 0, 0, 0, result{p: 1}},
		{"activemask.b32 %r;", 0, 0, 0, result{r: 0xffffffff}},
	} {
		assert.Equal(t, c.want, eval(t, c.code, c.x, c.y, c.z), "%s of %#x, %#x, %#x", c.code, c.x, c.y, c.z)
	}
}

func TestProductsAndSumsAreRoundedOnce(t *testing.T) {
	for _, c := range []struct{ x, y, z, want float32 }{
		{1 + 1.0/4096, 1 - 1.0/4096, -1, -1.0 / (1 << 24)},
		{1, 1, 1.0 / (1 << 24), 1},                                       // a tie, to even
		{1 + 1.0/(1<<23), 1, 1.0 / (1 << 24), 1 + 2.0/(1<<23)},           // a tie, to even
		{1 << 12, 1 << 12, 1 - 1.0/(1<<24), 1 << 24},                     // below a tie
		{1<<24 - 1, 1<<24 - 1, 1.0 / (1 << 30), (1<<24 - 2) * (1 << 24)}, // far from a tie
	} {
		assert.Equal(t, c.want, fma(c.x, c.y, c.z), "%v*%v+%v", c.x, c.y, c.z)
	}
	// Exactly between two float32 but for a part too small for float64.
	const x, tiny = 1 + 1.0/4096, 1.0 / (1 << 60)
	assert.Equal(t, float32(1+1.0/2048+1.0/(1<<23)), fma(x, x, tiny), "above a tie")
	assert.Equal(t, float32(1+1.0/2048), fma(x, x, -tiny), "below a tie")
	assert.Equal(t, float32(-1-1.0/2048-1.0/(1<<23)), fma(-x, x, -tiny), "below a tie of negative numbers")
}

func TestShufflesTakeFromTheLaneThatTheISASays(t *testing.T) {
	for _, c := range []struct {
		mode        string
		lane, b, cc int
		from        int
		in          bool
	}{
		{"bfly", 5, 3, 31, 6, true},
		{"up", 5, 3, 0, 2, true},
		{"up", 2, 3, 0, -1, false},
		{"down", 5, 3, 31, 8, true},
		{"down", 30, 3, 31, 33, false},
		{"idx", 9, 2, 31, 2, true},
		{"idx", 9, 2, 0x181f, 10, true}, // segments of eight
		{"down", 7, 1, 0x181f, 8, false},
	} {
		s, in := shuffleSource(c.mode, c.lane, c.b, c.cc)
		assert.Equal(t, c.in, in, "%+v", c)
		if in {
			assert.Equal(t, c.from, s, "%+v", c)
		}
	}
}

func TestHalvesAndBfloatsRoundToEven(t *testing.T) {
	for h := range 1 << 16 {
		f := half(uint16(h))
		if f != f {
			continue
		}
		assert.Equal(t, uint64(h), toHalf(f), "half %#x", h)
	}
	assert.Equal(t, uint64(0x3f80), toBfloat(1+1.0/256))
	assert.Equal(t, uint64(0x3f82), toBfloat(1+3.0/256))
	assert.Equal(t, uint64(0x3c00), toHalf(1+1.0/2048))
	assert.Equal(t, uint64(0x7c00), toHalf(65520))
}

func TestWhatIsNotKnownIsRefusedWithItsLine(t *testing.T) {
	for _, c := range []struct{ code, want string }{
		{"add.sat.s32 %r, %a, %b", "saturation"},
		{"frobnicate.b32 %r, %a", "frobnicate.b32 is not known here"},
		{"add.s32 %r, %a, %nope", "register %nope is not known"},
		{"bra $nowhere", "there is no label $nowhere"},
		{"add.rz.f32 %r, %a, %b", "rounded to nearest alone"},
		{"ld.global.u32 %r, [nowhere]", "nowhere is not known"},
	} {
		_, err := Parse(program(c.code + ";"))
		if assert.Error(t, err, c.code) {
			assert.Contains(t, err.Error(), c.want, c.code)
			assert.True(t, strings.Contains(err.Error(), "line 29"), "%v", err)
		}
	}
}
