package ptx

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// small wraps statements in a kernel whose parameter %p is an address of 256 bytes in
// global memory, the first 128 of them written. %s is the address of 1024 bytes of
// shared memory, %t the thread.
func small(body string) string {
	return `
.target sm_90a
.extern .shared .align 16 .b8 raw[];
.visible .entry f(.param .u64 f_param_0)
.maxntid 256
{
	.reg .pred %q<9>;
	.reg .b32 %s, %t, %b, %r<9>;
	.reg .f32 %f<9>;
	.reg .b64 %p, %d<9>;
	ld.param.u64 %p, [f_param_0];
	mov.u32 %s, raw;
	mov.u32 %t, %tid.x;
	mov.u32 %b, %ctaid.x;
	` + body + `
	ret;
}
`
}

func launched(t *testing.T, m *Machine, body string, g Grid) error {
	t.Helper()
	mod, err := Parse(small(body))
	require.NoError(t, err)
	p := m.Alloc(256)
	require.NoError(t, m.Write(p, make([]byte, 128)))
	g.Shared = 1024
	return m.Launch(mod.Kernel("f"), g, Params(p))
}

func TestFaultsAreFound(t *testing.T) {
	one, two, pair := Grid{Blocks: 1, Threads: 32}, Grid{Blocks: 1, Threads: 64}, Grid{Blocks: 2, Threads: 32}
	for _, c := range []struct {
		name, code string
		grid       Grid
		want       string
	}{
		{"an unset register", "add.s32 %r0, %r1, 1;", one, "register %r1, which was never set, in lanes 0-31"},
		{"a register unset in some lanes", "setp.lt.u32 %q0, %t, 5; @%q0 mov.b32 %r1, 0; add.s32 %r0, %r1, 1;", one, "never set, in lanes 5-31"},
		{"an unset register handed on", "mov.b32 %r2, %r1; selp.b32 %r3, %r2, 0, %q1; setp.eq.s32 %q1, %t, 0; add.s32 %r0, %r3, 1;", one, "never set"},
		{"an unset guard", "@%q0 mov.b32 %r1, 0;", one, "guard read before it was set"},
		{"memory that nobody wrote", "ld.global.u32 %r0, [%p+128];", one, "never written"},
		{"shared memory that nobody wrote", "ld.shared.u32 %r0, [%s+16];", one, "shared memory at 0x20 of block 0 that was never written"},
		{"a read past an allocation", "ld.global.v2.u32 {%r0, %r1}, [%p+256];", one, "past an allocation"},
		{"a write to nowhere", "mov.b64 %d0, 64; st.global.u32 [%d0], %t;", one, "outside of memory"},
		{"a misaligned read", "ld.global.u32 %r0, [%p+2];", one, "misaligned"},
		{"a misaligned vector", "ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%p+8];", one, "misaligned"},
		{"shared memory out of bounds", "st.shared.u32 [%s+1024], %t;", one, "outside of shared memory"},
		{"blocks that write one word", "st.global.u32 [%p], %t;", pair, "race: global memory"},
		{"blocks that share a word", "setp.eq.s32 %q0, %t, 0; mul.wide.u32 %d0, %b, 2; add.s64 %d1, %p, %d0; @%q0 st.global.u32 [%p+64], %b;", pair, "race: global memory"},
		{"a block that reads what another writes", "setp.eq.s32 %q0, %b, 0; @%q0 st.global.u32 [%p], %t; @!%q0 ld.global.u32 %r0, [%p];", pair, "race: "},
		{"warps that write one word of global memory", "st.global.u32 [%p], %t;", two, "race: writes global memory"},
		{"a warp that reads what another writes in global memory", "setp.lt.u32 %q0, %t, 32; st.global.u16 [%p+64], %t; @%q0 st.global.u32 [%p], %t; @!%q0 ld.global.u32 %r0, [%p];", Grid{Blocks: 1, Threads: 64}, "race: "},
		{"warps that write one word", "st.shared.u32 [%s], %t;", two, "race: writes shared memory"},
		{"a warp that reads what another writes", "setp.lt.u32 %q0, %t, 32; st.shared.u32 [%s+64], %t; bar.sync 0; @%q0 st.shared.u32 [%s], %t; @!%q0 ld.shared.u32 %r0, [%s];", two, "race: "},
		{"a barrier that not all come to", "setp.lt.u32 %q0, %t, 32; @%q0 bra $end; bar.sync 0, 64; $end:", two, "deadlock"},
		{"lanes that never meet", "setp.lt.u32 %q0, %t, 8; @%q0 bra $on; $wait: bra $wait; $on: bar.sync 0;", one, "still runs"},
		{"a shuffle with lanes that have ended", "setp.lt.u32 %q0, %t, 8; @%q0 ret; shfl.sync.bfly.b32 %r0, %t, 1, 31, -1;", one, "lanes 0-7, which have ended"},
		{"a barrier object that is none", "mbarrier.arrive.shared::cta.b64 _, [%s];", one, "no mbarrier"},
		{"too many arrivals", "setp.eq.s32 %q0, %t, 0; mov.b32 %r0, 1; @%q0 mbarrier.init.shared::cta.b64 [%s], %r0; bar.sync 0; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%s], %r0;", one, "more arrivals"},
		{"a barrier object used by others at once", "setp.eq.s32 %q0, %t, 0; mov.b32 %r0, 64; @%q0 mbarrier.init.shared::cta.b64 [%s], %r0; bar.warp.sync -1; mbarrier.arrive.shared::cta.b64 _, [%s];", two, "mbarrier at 0x10"},
		{"a wait for nobody", "setp.eq.s32 %q0, %t, 0; mov.b32 %r0, 1; @%q0 mbarrier.init.shared::cta.b64 [%s], %r0; bar.sync 0; $w: mbarrier.try_wait.parity.shared::cta.b64 %q1, [%s], 0; @!%q1 bra $w;", one, "waits for 1 of 1 arrivals"},
		{"a trap", "trap;", one, "trap"},
		{"parameters out of bounds", "ld.param.u64 %d0, [f_param_0+8];", one, "outside of the parameters"},
		{"global memory before the wait", "st.global.u32 [%p], %t; griddepcontrol.wait;", one, "before griddepcontrol.wait"},
		{"copies into one place", "cp.async.ca.shared.global [%s], [%p], 4; cp.async.commit_group; cp.async.wait_group 0;", two, "race: cp.async"},
		{"a copy that is read too early", "setp.eq.s32 %q0, %t, 0; @%q0 cp.async.ca.shared.global [%s], [%p], 4; cp.async.commit_group; bar.sync 0; ld.shared.u32 %r0, [%s]; cp.async.wait_group 0;", one, "never written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			for seed := range uint64(4) { // what a race looks like depends on who comes first
				m := New(seed)
				m.Most = 1 << 16
				if err = launched(t, m, c.code, c.grid); err == nil {
					break
				}
			}
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

func TestWhatIsRightIsNoFault(t *testing.T) {
	two, pair := Grid{Blocks: 1, Threads: 64}, Grid{Blocks: 2, Threads: 32}
	for _, c := range []struct {
		name, code string
		grid       Grid
	}{
		{"blocks that write neighbouring halves", "setp.eq.s32 %q0, %t, 0; mul.wide.u32 %d0, %b, 2; add.s64 %d1, %p, %d0; @%q0 st.global.u16 [%d1], %b;", pair},
		{"blocks that read one word", "ld.global.u32 %r0, [%p];", pair},
		{"blocks that add to one word", "red.global.add.u32 [%p], %t;", pair},
		{"a barrier between writing and reading", "mul.lo.s32 %r0, %t, 4; add.s32 %r0, %r0, %s; st.shared.u32 [%r0], %t; bar.sync 0; ld.shared.u32 %r1, [%s+252];", two},
		{"a barrier between writing and reading global memory", "mul.wide.u32 %d0, %t, 2; add.s64 %d1, %p, %d0; st.global.u16 [%d1], %t; bar.sync 0; ld.global.u32 %r1, [%p+120];", two},
		{"warps that leave early", "setp.lt.u32 %q0, %t, 32; @%q0 ret; bar.sync 0;", two},
		{"a barrier of some warps", "setp.lt.u32 %q0, %t, 32; @%q0 bra $end; bar.sync 1, 32; $end:", two},
		{"registers that are copied unset and not used", "mov.b32 %r0, %r1; mov.b32 %r2, %r0;", two},
		{"a loop of lanes that end one after the other", "mov.b32 %r0, 0; $l: add.s32 %r0, %r0, 1; setp.lt.u32 %q0, %r0, %t; @%q0 bra $l; bar.warp.sync -1; bar.sync 0;", two},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(8) {
				require.NoError(t, launched(t, New(seed), c.code, c.grid))
			}
		})
	}
}

func TestLaunchesThatOverlapMustWait(t *testing.T) {
	m := New(1)
	m.Early = true
	p := m.Alloc(256)
	require.NoError(t, m.Write(p, make([]byte, 256)))
	run := func(body string) error {
		mod, err := Parse(small(body))
		require.NoError(t, err)
		return m.Launch(mod.Kernel("f"), Grid{Blocks: 1, Threads: 32, Shared: 1024}, Params(p))
	}
	require.NoError(t, run("ld.global.u32 %r0, [%p]; griddepcontrol.wait; st.global.u32 [%p], %t;"), "what the host wrote may be read at any time")
	assert.ErrorContains(t, run("ld.global.u32 %r0, [%p];"), "reads what the launch before wrote")
	assert.ErrorContains(t, run("st.global.u32 [%p+4], %t;"), "writes global memory before")
}

func TestLaunchesThatCannotBeAreRefused(t *testing.T) {
	m := New(1)
	mod, err := Parse(small(""))
	require.NoError(t, err)
	k := mod.Kernel("f")
	assert.ErrorContains(t, m.Launch(mod.Kernel("g"), Grid{Blocks: 1, Threads: 32}, nil), "no such kernel")
	assert.ErrorContains(t, m.Launch(k, Grid{Blocks: 1, Threads: 288}, Params(uint64(0))), "at most 256")
	assert.ErrorContains(t, m.Launch(k, Grid{Blocks: 3, Threads: 32, Cluster: 2}, Params(uint64(0))), "clusters of 2")
	assert.ErrorContains(t, m.Launch(k, Grid{Blocks: 1, Threads: 32}, nil), "0 bytes of parameters, want 8")
	assert.ErrorContains(t, m.Launch(k, Grid{Blocks: 1, Threads: 32, Shared: 1 << 20}, Params(uint64(0))), "shared memory")
}
