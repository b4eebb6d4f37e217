package warm

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
)

// shared returns a path in the reference material, and skips the test where that is absent.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		require.NoError(t, err)
		for !fileExists(filepath.Join(dir, "go.mod")) {
			require.NotEqual(t, dir, filepath.Dir(dir), "no go.mod above the test")
			dir = filepath.Dir(dir)
		}
		root = filepath.Join(dir, "..", "shared")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if !fileExists(path) {
		t.Skipf("reference material is absent: %s (set WARM_SHARED)", path)
	}
	return path
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// open opens a checkpoint for the length of a test.
func open(t testing.TB, dir string) *loader.Checkpoint {
	t.Helper()
	c, err := loader.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

// sources opens the four golden members.
func sources(t testing.TB) []Member {
	t.Helper()
	var out []Member
	for _, s := range []string{"source0", "source1", "source2", "source3"} {
		out = append(out, Member{Name: s, Checkpoint: open(t, shared(t, "goldens", "merge-average", s))})
	}
	return out
}

// values reads a whole tensor.
func values(t testing.TB, s loader.Source, name string) []float32 {
	t.Helper()
	shape, ok := s.Shape(name)
	require.True(t, ok, name)
	n := 1
	for _, d := range shape {
		n *= d
	}
	out := make([]float32, n)
	require.NoError(t, s.ReadAt(out, name, 0))
	return out
}

// assertSameBits compares two sources; ulps is how far the values may be apart.
func assertSameBits(t testing.TB, want, got loader.Source, ulps uint32) {
	t.Helper()
	require.Equal(t, want.Names(), got.Names())
	for _, name := range want.Names() {
		w, g := values(t, want, name), values(t, got, name)
		require.Len(t, g, len(w))
		for i := range w {
			a, b := math.Float32bits(w[i]), math.Float32bits(g[i])
			if max(a, b)-min(a, b) > ulps {
				t.Fatalf("%s[%d] is %v (%#x), want %v (%#x)", name, i, g[i], b, w[i], a)
			}
		}
	}
}

// build writes and opens a checkpoint of vectors and matrices that hold the given values.
func build(t testing.TB, config string, tensors map[string][]float32, files map[string]string) *loader.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	var specs []safetensors.Spec
	for name, v := range tensors {
		specs = append(specs, safetensors.Spec{Name: name, DType: safetensors.F32, Shape: []int{1, len(v)}})
	}
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), specs, nil, func(w io.Writer, s safetensors.Spec) error {
		b := make([]byte, 4*len(tensors[s.Name]))
		safetensors.EncodeF32(b, tensors[s.Name])
		_, err := w.Write(b)
		return err
	}))
	if files == nil {
		files = map[string]string{}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return open(t, dir)
}

func TestAverageEqualsTheGolden(t *testing.T) {
	golden := open(t, shared(t, "goldens", "merge-average"))
	a, err := NewAverage(sources(t), Options{})
	require.NoError(t, err)
	// The golden is the float64 mean, rounded once: so is ours.
	assertSameBits(t, golden, a, 0)
	assert.Empty(t, a.Skipped())
	assert.Empty(t, a.Warnings())
}

func TestInterpolationEqualsTheGolden(t *testing.T) {
	golden := open(t, shared(t, "goldens", "merge-interpolate"))
	m := sources(t)
	a, err := Interpolate(m[0].Checkpoint, m[1].Checkpoint, 0.3)
	require.NoError(t, err)
	assertSameBits(t, golden, a, 0)
}

func TestInterpolationEndsAtItsMembers(t *testing.T) {
	m := sources(t)
	for i, lambda := range []float64{0, 1} {
		a, err := Interpolate(m[0].Checkpoint, m[1].Checkpoint, lambda)
		require.NoError(t, err)
		assertSameBits(t, m[i].Checkpoint, a, 0)
	}
	for _, lambda := range []float64{-0.1, 1.1, math.NaN()} {
		_, err := Interpolate(m[0].Checkpoint, m[1].Checkpoint, lambda)
		assert.ErrorIs(t, err, ErrWeight)
	}
}

func TestAverageOfOneIsItself(t *testing.T) {
	m := sources(t)
	for _, weight := range []float64{0, 3} {
		a, err := NewAverage([]Member{{Checkpoint: m[2].Checkpoint, Weight: weight}}, Options{})
		require.NoError(t, err)
		assertSameBits(t, m[2].Checkpoint, a, 0)
	}
	odd := []float32{math.Float32frombits(0xffc12345), math.Float32frombits(0x7f812345), float32(math.Copysign(0, -1)), float32(math.Inf(1)), math.SmallestNonzeroFloat32}
	c := build(t, "{}", map[string][]float32{"w": odd}, nil)
	a, err := NewAverage([]Member{{Checkpoint: c}}, Options{})
	require.NoError(t, err)
	assertSameBits(t, c, a, 0)
}

func TestAverageOfCopiesIsTheCopy(t *testing.T) {
	c := sources(t)[1].Checkpoint
	for k := 2; k <= 13; k++ {
		var equal, weighted []Member
		for i := range k {
			name := string(rune('a' + i))
			equal = append(equal, Member{Name: name, Checkpoint: c})
			weighted = append(weighted, Member{Name: name, Checkpoint: c, Weight: float64(i) + 0.1})
		}
		for _, members := range [][]Member{equal, weighted} {
			a, err := NewAverage(members, Options{})
			require.NoError(t, err)
			assertSameBits(t, c, a, 0)
			assert.Len(t, a.Warnings(), k-1, "each copy is reported once")
			assert.Equal(t, WarnDuplicate, a.Warnings()[0].Kind)
		}
	}
}

func TestAPermutationOfMembersChangesNothing(t *testing.T) {
	m := sources(t)
	for i, w := range []float64{0.5, 1, 2, 0.25} {
		m[i].Weight = w
	}
	base := m[0].Checkpoint
	for _, opts := range []Options{{}, {Base: base, Alpha: new(0.7)}} {
		want, err := NewAverage(m, opts)
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(5, 6))
		for range 10 {
			p := slices.Clone(m)
			rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
			got, err := NewAverage(p, opts)
			require.NoError(t, err)
			assertSameBits(t, want, got, 0)
			assert.Equal(t, want.Config(), got.Config())
		}
	}
}

func TestRenamingMembersOfEqualWeightChangesNothing(t *testing.T) {
	// Here the order of the sums changes, and only their exactness keeps the result: see the package comment.
	m := sources(t)
	want, err := NewAverage(m, Options{})
	require.NoError(t, err)
	for shift := 1; shift < len(m); shift++ {
		p := slices.Clone(m)
		for i := range p {
			p[i].Checkpoint = m[(i+shift)%len(m)].Checkpoint
		}
		got, err := NewAverage(p, Options{})
		require.NoError(t, err)
		assertSameBits(t, want, got, 0)
	}
}

func TestAlphaGoesFromTheBaseToTheAverage(t *testing.T) {
	m := sources(t)
	base, members := m[0].Checkpoint, m[1:]
	at := func(alpha float64) *Average {
		a, err := NewAverage(members, Options{Alpha: &alpha, Base: base, Extrapolate: true})
		require.NoError(t, err)
		return a
	}
	assertSameBits(t, base, at(0), 0)
	plain, err := NewAverage(members, Options{})
	require.NoError(t, err)
	one, err := NewAverage(members, Options{Alpha: new(1.0)})
	require.NoError(t, err)
	assertSameBits(t, plain, one, 0)

	// Between and beyond, against the formula as it is written in float64.
	for _, alpha := range []float64{0.3, 0.99, 1.5, -0.5} {
		got := at(alpha)
		for _, name := range got.Names() {
			b, g := values(t, base, name), values(t, got, name)
			var xs [3][]float32
			for k := range xs {
				xs[k] = values(t, members[k].Checkpoint, name)
			}
			for i := range g {
				mean := (float64(xs[0][i]) + float64(xs[1][i]) + float64(xs[2][i])) / 3
				want := float64(b[i]) + alpha*(mean-float64(b[i]))
				// Both sums round some times in float64, relative to their largest term, and once in float32.
				size := math.Abs(float64(b[i])) + math.Abs(float64(xs[0][i])) + math.Abs(float64(xs[1][i])) + math.Abs(float64(xs[2][i]))
				require.InDelta(t, want, g[i], math.Abs(want)*0x1p-24+size*0x1p-50, "alpha %v %s[%d]", alpha, name, i)
			}
		}
	}
}

func TestAverageRefusesItsArguments(t *testing.T) {
	m := sources(t)
	nan, inf := math.NaN(), math.Inf(1)
	weigh := func(ws ...float64) []Member {
		out := slices.Clone(m[:len(ws)])
		for i, w := range ws {
			out[i].Weight = w
		}
		return out
	}
	base := m[3].Checkpoint
	tests := []struct {
		name    string
		members []Member
		opts    Options
		want    error
	}{
		{"no members", nil, Options{}, ErrNoMembers},
		{"a member without a checkpoint", []Member{{Name: "x"}}, Options{}, ErrNoMembers},
		{"two members of one name", []Member{m[0], m[0]}, Options{}, ErrMemberName},
		{"a NaN", weigh(1, nan), Options{Extrapolate: true}, ErrWeight},
		{"an infinity", weigh(1, inf), Options{Extrapolate: true}, ErrWeight},
		{"a negative weight", weigh(1, -0.5), Options{}, ErrWeight},
		{"a negative sum", weigh(1, -2), Options{Extrapolate: true}, ErrWeight},
		{"a sum of zero", weigh(1, -1), Options{Extrapolate: true}, ErrWeight},
		{"a sum that overflows", weigh(math.MaxFloat64, math.MaxFloat64), Options{}, ErrWeight},
		{"a weight that was forgotten", weigh(1, 0, 1), Options{}, ErrWeight},
		{"alpha without a base", m, Options{Alpha: new(0.5)}, ErrBase},
		{"an unknown difference to ignore", m, Options{Ignore: []string{"pad_tokn"}}, ErrIgnore},
		{"alpha NaN", m, Options{Alpha: &nan, Base: base}, ErrAlpha},
		{"alpha beyond 1", m, Options{Alpha: new(1.1), Base: base}, ErrAlpha},
		{"alpha below 0", m, Options{Alpha: new(-0.1), Base: base}, ErrAlpha},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewAverage(tt.members, tt.opts)
			assert.ErrorIs(t, err, tt.want)
		})
	}
	t.Run("but extrapolates when asked", func(t *testing.T) {
		a, err := NewAverage(weigh(3, -1), Options{Extrapolate: true})
		require.NoError(t, err)
		name := a.Names()[0]
		x, y, g := values(t, m[0].Checkpoint, name), values(t, m[1].Checkpoint, name), values(t, a, name)
		for i := range g {
			require.Equal(t, float32(1.5*float64(x[i])-0.5*float64(y[i])), g[i])
		}
	})
}

func TestReadsDoNotDependOnTheirPieces(t *testing.T) {
	// One member is in bfloat16, so that both paths, with and without a conversion, are in one average.
	m := []Member{{Name: "f32", Checkpoint: open(t, shared(t, "goldens", "llama-gqa"))}, {Name: "bf16", Checkpoint: open(t, shared(t, "goldens", "llama-bf16"))}}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	const name = "model.embed_tokens.weight"
	want := values(t, a, name)
	require.Greater(t, len(want), 2*convertBlock)
	full, half := values(t, m[0].Checkpoint, name), values(t, m[1].Checkpoint, name)
	for i := range want {
		require.Equal(t, float32((float64(full[i])+float64(half[i]))/2), want[i])
	}
	for _, step := range []int{1, 7, 33, 4095, 4097, len(want)} {
		got := make([]float32, len(want))
		var wg sync.WaitGroup
		for at := 0; at < len(got); at += step {
			if step < 33 && at > 500 { // Small steps show what they can in a part.
				copy(got[at:], want[at:])
				break
			}
			wg.Go(func() { assert.NoError(t, a.ReadAt(got[at:min(at+step, len(got))], name, at)) })
		}
		wg.Wait()
		require.Equal(t, want, got, "step %d", step)
	}
	assert.Error(t, a.ReadAt(want, name, 1))
	assert.Error(t, a.ReadAt(want[:1], name, -1))
	assert.ErrorIs(t, a.ReadAt(want[:1], "none", 0), loader.ErrNoTensor)
}

func TestAverageOfRealModelsSavesAndOpensWithTheSameBits(t *testing.T) {
	var m []Member
	for _, n := range []string{"1", "2", "3", "4"} {
		m = append(m, Member{Checkpoint: open(t, shared(t, "models", "rm-paradetox-"+n))})
	}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	assert.Empty(t, a.Warnings())
	out := filepath.Join(t.TempDir(), "wa")
	require.NoError(t, loader.Save(out, contents(t, a)))
	c := open(t, out)
	assertSameBits(t, a, c, 0)
	assert.Equal(t, a.Tokenizer(), c.Tokenizer)
	assert.Equal(t, a.TokenizerConfig(), c.TokenizerConfig)
	assert.Equal(t, a.SpecialTokensMap(), c.SpecialTokensMap)
	assert.Equal(t, a.ChatTemplate(), c.ChatTemplate)

	d, err := Diagnose(m)
	require.NoError(t, err)
	assert.Empty(t, d.Warnings)
	require.Len(t, d.Pairs, 6)
	for _, p := range d.Pairs {
		t.Logf("%+v", p)
		assert.Greater(t, p.Lowest, 0.8, "these members share their initialisation")
		assert.Greater(t, p.Head, 0.8, "and their probed head")
	}
}

func TestSavingAnAverageNeedsLittleMemory(t *testing.T) {
	// 3 members of 16 MB; the heap may hold the buffers of the writer, not a tensor.
	big := make([]float32, 4<<20)
	for i := range big {
		big[i] = float32(i)
	}
	var m []Member
	for _, name := range []string{"a", "b", "c"} {
		m = append(m, Member{Name: name, Checkpoint: build(t, "{}", map[string][]float32{"w": big}, nil)})
	}
	big = nil
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	require.NoError(t, loader.Save(filepath.Join(t.TempDir(), "wa"), contents(t, a)))
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "bytes allocated while averaging and saving 48 MB of members")
}

func TestAnAverageSurvivesAFileThatShrinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on this system")
	}
	var m []Member
	for _, name := range []string{"a", "b"} {
		m = append(m, Member{Name: name, Checkpoint: build(t, "{}", map[string][]float32{"w": make([]float32, 1<<16)}, nil)})
	}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(m[1].Checkpoint.Dir, "model.safetensors"), 8192))
	require.ErrorIs(t, a.ReadAt(make([]float32, 1<<16), "w", 0), loader.ErrShrunk)
	assert.NoError(t, a.ReadAt(make([]float32, 100), "w", 0), "what is still there is still averaged")
}

func TestNormalisationOfMembersIsDropped(t *testing.T) {
	w := map[string][]float32{"w": {1, 2}}
	plain := build(t, `{"a": 1}`, w, nil)
	scaled := build(t, `{"a": 1, "mean": 0.5, "std": 2.0}`, w, nil)
	a, err := NewAverage([]Member{{Name: "1", Checkpoint: scaled}, {Name: "2", Checkpoint: plain}}, Options{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"a": 1}`, string(a.Config()))
	require.NotEmpty(t, a.Warnings())
	assert.Equal(t, WarnNormalisation, a.Warnings()[0].Kind)
	assert.Equal(t, []string{"1"}, a.Warnings()[0].Members)
	one, err := NewAverage([]Member{{Checkpoint: scaled}}, Options{})
	require.NoError(t, err)
	assert.True(t, bytes.Equal(scaled.Config, one.Config()), "a model alone keeps its own")
}

func contents(t testing.TB, a *Average) loader.Contents {
	c, err := a.Contents()
	require.NoError(t, err)
	return c
}
