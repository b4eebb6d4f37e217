package ptx_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

// trials are runs of kernels that ship. Each must pass with any schedule.
var trials = map[string]trial{
	"wgmma_store_64x1":                    product("wgmma_store_64x1", -1, 140, 136, 200, 2),
	"wgmma_store_128x1":                   product("wgmma_store_128x1", -1, 140, 136, 520, 1),
	"wgmma_store_128x1 from row 2 to 141": product("wgmma_store_128x1", 2, 140, 136, 72, 1),
	"wgmma_store_128x1 from row 2 to 201": product("wgmma_store_128x1", 2, 200, 136, 72, 1),
	"wgmma_store_n64":                     product("wgmma_store_n64", -1, 140, 136, 520, 2),
	"wgmma_store_256x2":                   product("wgmma_store_256x2", -1, 300, 264, 264, 2),
	"wgmma_residual_128x1":                product("wgmma_residual_128x1", -1, 140, 264, 128, 1),
	"wgmma_residual_n32":                  product("wgmma_residual_n32", -1, 70, 72, 648, 1),
	"wgmma_gated_192x1":                   product("wgmma_gated_192x1", -1, 140, 272, 72, 1),
	"wgmma_gated_p128x1":                  product("wgmma_gated_p128x1", -1, 300, 256, 264, 1),
	"wgmma_gated_128x1":                   product("wgmma_gated_128x1", -1, 140, 272, 72, 1),
	"wgmma_heads_128x1":                   product("wgmma_heads_128x1", -1, 140, 384, 72, 2),
	// Those with gates take more stages than the ring has.
	"wgmma_gated_normed_n64":      product("wgmma_gated_normed_n64", -1, 70, 80, 384, 1),
	"wgmma_gated_normed_p128x1":   product("wgmma_gated_normed_p128x1", -1, 200, 256, 384, 1),
	"wgmma_heads_normed_128x1":    product("wgmma_heads_normed_128x1", -1, 130, 384, 128, 2),
	"wgmma_residual_normed_n32":   product("wgmma_residual_normed_n32", -1, 70, 96, 72, 1),
	"wgmma_residual_normed_128x1": product("wgmma_residual_normed_128x1", -1, 130, 160, 72, 1),
	"wgmma_store_e4m3_128x1":      eighth("wgmma_store_e4m3_128x1", 70, 136, 500, 1),
	"wgmma_residual_e4m3_64x1":    eighth("wgmma_residual_e4m3_64x1", 70, 72, 140, 2),
	"product_mma_e4m3":            eighth("product_mma_e4m3", 140, 72, 300, 2),
	"quantize_bf16":               quantized(6, 400, 2),
	"product_mma":                 product("product_mma", -1, 140, 136, 200, 2),
	"product_bf16_simt":           product("product_bf16_simt", -1, 70, 72, 40, 2),
	"product_f32":                 single(70, 77, 37, 2),
	"layernorm_f32":               normed(3, 300, 2),
	"attend_wgmma_64":             attention("attend_wgmma_64", 64, 128, 0, 2),
	"attend_wgmma_128":            attention("attend_wgmma_128", 128, 384, 0, 1),
	"attend_wgmma_64_half":        attention("attend_wgmma_64_half", 64, 128, 0, 2),
	"attend_mma_64":               attention("attend_mma_64", 64, 128, 0, 2),
	"attend_mma_64 of a window":   attention("attend_mma_64", 64, 128, 20, 2),
	"attend_bf16_simt":            attention("attend_bf16_simt", 64, 128, 0, 2),
}

// kernelOf is the kernel of a trial.
func kernelOf(trial string) string { return strings.Fields(trial)[0] }

// attempt runs a trial once with a seed for data and schedule.
func attempt(name string, k *ptx.Kernel, seed uint64) error {
	return trials[name](ptx.New(seed), k, rand.New(rand.NewPCG(seed, 7)))
}

func TestKernelsPassWithAnySchedule(t *testing.T) {
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for name := range trials {
		t.Run(name, func(t *testing.T) {
			m, err := ptx.Load(kernel.Table[kernelOf(name)].Module)
			require.NoError(t, err)
			for seed := range rounds {
				require.NoError(t, attempt(name, m.Kernel(kernelOf(name)), uint64(seed)), "seed %d", seed)
			}
		})
	}
}

// entry is a module's text with one kernel alone.
func entry(t *testing.T, name string) string {
	text, err := kernel.PTX(kernel.Table[name].Module)
	require.NoError(t, err)
	parts := strings.Split(string(text), ".visible .entry ")
	for _, p := range parts[1:] {
		if strings.HasPrefix(p, name+"(") {
			return parts[0] + ".visible .entry " + p
		}
	}
	require.Fail(t, "no such kernel", name)
	return ""
}

// A plant is a bug put into the text of a kernel that ships. The pattern find must be
// there; put replaces it at its nth place, or at every one. With each, every place is a
// bug of its own and all must be found, but for those where it changes nothing.
type plant struct {
	bug   string
	trial string
	find  string // a regular expression
	put   string
	nth   int
	each  bool
	not   map[int]string // places, and why the bug is none there
}

const (
	every  = -1
	wait   = `\{ \.reg \.pred p; (W_\d+): (mbarrier\.try_wait\.\S+ p, \[%r\d+\]), (%r\d+); @!p bra W_\d+; \}`
	expect = `mbarrier\.arrive\.expect_tx\.shared::cta\.b64 _, \[(%r\d+)\], (%r\d+);`
)

var plants = []plant{
	{bug: "a wait for a barrier is missing", trial: "wgmma_store_128x1", find: wait, each: true},
	{bug: "a wait for a barrier is missing", trial: "wgmma_store_n64", find: wait, each: true},
	{bug: "a wait for a barrier is missing", trial: "wgmma_gated_p128x1", find: wait, each: true},
	{bug: "a wait for a barrier is missing", trial: "wgmma_residual_128x1", find: wait, each: true},
	{bug: "a wait for a barrier is missing", trial: "wgmma_residual_n32", find: wait, each: true},
	{bug: "a wait for a barrier is missing", trial: "attend_wgmma_128", find: wait, each: true},
	{bug: "a barrier's parity is wrong", trial: "wgmma_gated_p128x1", find: wait, put: "{ .reg .pred p; .reg .b32 o; xor.b32 o, ${3}, 1; ${1}: ${2}, o; @!p bra ${1}; }", each: true},
	{bug: "a barrier's parity is wrong", trial: "attend_wgmma_64", find: wait, put: "{ .reg .pred p; .reg .b32 o; xor.b32 o, ${3}, 1; ${1}: ${2}, o; @!p bra ${1}; }", each: true},
	{bug: "too few bytes are expected", trial: "wgmma_store_128x1", find: expect, put: "{ .reg .b32 few; sub.u32 few, ${2}, 128; mbarrier.arrive.expect_tx.shared::cta.b64 _, [${1}], few; }", each: true},
	{bug: "too few bytes are expected", trial: "wgmma_residual_128x1", find: expect, put: "{ .reg .b32 few; sub.u32 few, ${2}, 4096; mbarrier.arrive.expect_tx.shared::cta.b64 _, [${1}], few; }", each: true},
	{bug: "a stage is given back while it is read", trial: "wgmma_store_128x1", find: `wgmma\.wait_group\.sync\.aligned 1;`, put: "wgmma.wait_group.sync.aligned 3;", each: true},
	{bug: "keys are given back while they are read", trial: "attend_wgmma_64", find: `wgmma\.wait_group\.sync\.aligned 1;`, put: "wgmma.wait_group.sync.aligned 2;", each: true},
	{bug: "results are read before they are made", trial: "attend_wgmma_64", find: `wgmma\.wait_group\.sync\.aligned 0;`, put: "wgmma.wait_group.sync.aligned 1;", each: true},
	{bug: "products are not committed", trial: "wgmma_store_128x1", find: `wgmma\.commit_group\.sync\.aligned;`, each: true},
	{bug: "registers are not fenced before wgmma", trial: "attend_wgmma_64", find: `wgmma\.fence\.sync\.aligned;`, each: true},
	{bug: "results are not fenced for the copy engine", trial: "wgmma_store_128x1", find: `fence\.proxy\.async\.shared::cta;`, each: true},
	{bug: "zeros are not fenced for wgmma", trial: "attend_wgmma_64", find: `fence\.proxy\.async\.shared::cta;`, each: true},
	{bug: "values behind a sequence are not zeroed", trial: "attend_wgmma_64", find: `st\.shared\.v4\.u32 [^;]*;`, nth: every},
	{bug: "stores are not waited for", trial: "wgmma_store_128x1", find: `cp\.async\.bulk\.wait_group\.read 0;`, each: true},
	{bug: "a block leaves its cluster early", trial: "wgmma_store_256x2", find: `barrier\.cluster\.arrive\.aligned; barrier\.cluster\.wait\.aligned;`, nth: 1},
	{bug: "barriers are used before all blocks have made theirs", trial: "wgmma_store_256x2", find: `barrier\.cluster\.arrive\.aligned; barrier\.cluster\.wait\.aligned;`, nth: 0},
	{bug: "only one block of a cluster gets the weights", trial: "wgmma_store_256x2", find: `(\.multicast::cluster [^;]*), %rs\d+;`, put: "${1}, 1;", nth: every},
	{bug: "a stage is given back to one block alone", trial: "wgmma_store_256x2", find: `mapa\.shared::cluster\.u32 ra, (%r\d+), %r\d+;`, put: "mapa.shared::cluster.u32 ra, ${1}, 0;", nth: every},
	{bug: "a barrier expects too few arrivals", trial: "wgmma_store_128x1", find: `mov\.b32\s+(%r\d+), 8;`, put: "mov.b32 ${1}, 7;", nth: 0},
	{bug: "results are swizzled wrongly", trial: "wgmma_store_128x1", find: `and\.b32\s+(%r\d+), (%r\d+), 112;`, put: "and.b32 ${1}, ${2}, 48;", each: true,
		not: map[int]string{0: "of rows that are stored one by one, below", 1: "the same"}},
	{bug: "results are swizzled wrongly", trial: "wgmma_store_128x1 from row 2 to 141", find: `and\.b32\s+(%r\d+), (%r\d+), 112;`, put: "and.b32 ${1}, ${2}, 48;", nth: 0},
	{bug: "results are swizzled wrongly", trial: "wgmma_store_128x1 from row 2 to 201", find: `and\.b32\s+(%r\d+), (%r\d+), 112;`, put: "and.b32 ${1}, ${2}, 48;", nth: 1},
	{bug: "rows of others are written", trial: "wgmma_store_128x1 from row 2 to 141", find: `ld\.global\.u32\s+(%r\d+), \[%rd\d+\];`, put: "${0} add.s32 ${1}, ${1}, 1;", nth: 0},
	{bug: "accumulators are not set", trial: "wgmma_store_128x1", find: `mov\.f32\s+%f\d+, 0f00000000;`, nth: 0},
	{bug: "K is taken in another order by one operand", trial: "wgmma_store_128x1", find: `, 4611686293305360386;`, put: ", 4611686293305360388;", nth: 0},
	{bug: "columns of the copy engine's box are off by one", trial: "wgmma_store_128x1", find: `(cp\.async\.bulk\.tensor\.2d\.shared::cluster[^{]*\{%r\d+), (%r\d+)\}`, put: "${1}, 1}", nth: 0},
	{bug: "lanes are exchanged wrongly", trial: "attend_wgmma_64", find: `(shfl\.sync\.bfly\.b32\s+%r\d+, %r\d+), %r\d+, `, put: "${1}, 4, ", each: true},
	{bug: "lanes are exchanged wrongly", trial: "attend_mma_64", find: `(shfl\.sync\.bfly\.b32\s+%r\d+, %r\d+), %r\d+, `, put: "${1}, 4, ", each: true},
	{bug: "one lane takes no part in an exchange", trial: "layernorm_f32", find: `(shfl\.sync\.bfly\.b32 [^;]*), 0xffffffff;`, put: "${1}, 0x7fffffff;", nth: 0},
	{bug: "a barrier of the block is missing", trial: "layernorm_f32", find: `bar\.sync\s+0;`, each: true},
	{bug: "a barrier of the block is missing", trial: "product_f32", find: `bar\.sync\s+0;`, each: true},
	{bug: "a barrier of the block is missing", trial: "product_mma", find: `bar\.sync\s+0;`, each: true},
	{bug: "a barrier of the block is missing", trial: "attend_mma_64", find: `bar\.sync\s+0;`, each: true,
		not: map[int]string{0: "the one at the end of the loop over keys orders the same accesses"}},
	{bug: "a key too few is seen", trial: "attend_mma_64", find: `setp\.lt\.s32\s+(%p\d+), (%r\d+), (16);`, put: "setp.le.s32 ${1}, ${2}, ${3};", nth: 0},
	{bug: "a key too many is seen", trial: "attend_mma_64", find: `setp\.lt\.s32\s+(%p\d+), (%r\d+), 17;`, put: "setp.lt.s32 ${1}, ${2}, 16;", nth: 0},
	{bug: "barriers of the block are missing", trial: "attend_bf16_simt", find: `bar\.sync\s+0;`, nth: every},
	{bug: "a window is off by one", trial: "attend_mma_64 of a window", find: `setp\.gt\.s32\s+(%p\d+), (%r\d+), (\d+);`, put: "setp.ge.s32 ${1}, ${2}, ${3};", each: true},
	{bug: "copies are not waited for", trial: "product_mma", find: `cp\.async\.wait_group 2;`, put: "cp.async.wait_group 3;", each: true},
	{bug: "copies are not waited for", trial: "attend_mma_64", find: `cp\.async\.wait_group (\d);`, put: "cp.async.wait_group ${1}1;", each: true,
		not: map[int]string{1: "nothing is under way behind the loop over keys"}},
	{bug: "what lies behind the matrix is not zero", trial: "product_mma", find: `(cp\.async\.cg\.shared\.global [^;]*, 16), %r\d+;`, put: "${1}, 16;", nth: every},
	{bug: "blocks compute the same tile", trial: "product_f32", find: `mov\.u32\s+(%r\d+), %ctaid\.x;`, put: "mov.u32 ${1}, 0;", nth: 0},
	{bug: "blocks compute the same rows", trial: "layernorm_f32", find: `mov\.u32\s+(%r\d+), %ctaid\.x;`, put: "mov.u32 ${1}, 0;", nth: 0},
	{bug: "a row too many", trial: "product_mma", find: `ld\.global\.u32\s+(%r\d+), \[%rd\d+\];`, put: "${0} add.s32 ${1}, ${1}, 1;", nth: 0},
	{bug: "a row too many", trial: "layernorm_f32", find: `ld\.global\.u32\s+(%r\d+), \[%rd\d+\];`, put: "${0} add.s32 ${1}, ${1}, 1;", nth: 0},
	{bug: "the wrong row stride", trial: "product_f32", find: fmt.Sprintf(`\+%d\]`, ldcAt), put: fmt.Sprintf("+%d]", ldaAt), nth: every},
	{bug: "kernels that overlap do not wait for each other", trial: "wgmma_store_128x1", find: `griddepcontrol\.wait;`, each: true, not: map[int]string{0: "of parts of the rows, which this is none of"}},
	{bug: "kernels that overlap do not wait for each other", trial: "wgmma_residual_n32", find: `griddepcontrol\.wait;`, each: true, not: map[int]string{0: "of parts of the rows, which this is none of"}},
	{bug: "kernels that overlap do not wait for each other", trial: "wgmma_store_128x1 from row 2 to 141", find: `griddepcontrol\.wait;`, nth: 0},
	{bug: "more registers are asked for than were given back", trial: "wgmma_store_128x1", find: `setmaxnreg\.dec\.sync\.aligned\.u32 40;`, put: "setmaxnreg.dec.sync.aligned.u32 48;", nth: 0},
	{bug: "new barriers are not fenced", trial: "wgmma_store_128x1", find: `fence\.mbarrier_init\.release\.cluster;`, nth: 0},
	{bug: "a float where a pair of bfloat16 must be", trial: "wgmma_store_128x1", find: `cvt\.rn\.bf16x2\.f32\s+(%r\d+), (%f\d+), (%f\d+);`, put: "mov.b32 ${1}, ${2};", nth: 3},
}

// bugs are the texts of a plant: one for each of its places, or one for all.
func (p plant) bugs(t *testing.T) []string {
	text := entry(t, kernelOf(p.trial))
	re := regexp.MustCompile(p.find)
	places := re.FindAllStringSubmatchIndex(text, -1)
	require.NotEmpty(t, places, "%s: nothing in %s is like %s", p.bug, p.trial, p.find)
	if p.nth == every {
		return []string{re.ReplaceAllString(text, p.put)}
	}
	var out []string
	for i, m := range places {
		if p.each && p.not[i] == "" || !p.each && i == p.nth {
			put := string(re.ExpandString(nil, p.put, text, m))
			require.NotEqual(t, text[m[0]:m[1]], put, "%s: the same text", p.bug)
			out = append(out, text[:m[0]]+put+text[m[1]:])
		}
	}
	require.NotEmpty(t, out, "%s: %s has %d places, not a %dth", p.bug, p.trial, len(places), p.nth)
	return out
}

// TestPlantedBugsAreFound puts bugs into kernels and runs them with few seeds. The first
// that finds fault is enough.
func TestPlantedBugsAreFound(t *testing.T) { find(t, plants) }

func find(t *testing.T, plants []plant) {
	const seeds = 3
	tried := 0
	for _, p := range plants {
		bugs := p.bugs(t)
		for i, text := range bugs {
			if tried++; testing.Short() && tried%4 != 0 {
				continue
			}
			name := p.bug + " in " + p.trial
			if len(bugs) > 1 {
				name += fmt.Sprintf(", place %d", i)
			}
			t.Run(name, func(t *testing.T) {
				m, err := ptx.Parse(text)
				if err != nil {
					require.NoError(t, err)
				}
				for seed := range seeds {
					if err = attempt(p.trial, m.Kernel(kernelOf(p.trial)), uint64(seed)); err != nil {
						s := err.Error()
						t.Logf("seed %d: %s", seed, s[:min(len(s), 300)])
						return
					}
				}
				assert.Fail(t, "not found")
			})
		}
	}
}
