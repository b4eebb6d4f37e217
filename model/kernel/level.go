package kernel

import "fmt"

// Level is a set of instructions that the kernels may use. Results are equal
// bit for bit within a level and differ in the last places between levels, those in
// bfloat16 by more where one level rounds activations and the other does not ([HasBF16]).
type Level uint8

// The levels, slowest first.
const (
	Generic    Level = iota // plain Go, the specification
	AVX2                    // AVX2 and FMA, 8 lanes
	AVX512                  // AVX-512 F, BW, DQ and VL, 16 lanes
	AVX512BF16              // AVX512 with BF16, where that is faster than float32 arithmetic
	AMX                     // AVX512 with BF16 and VNNI, and a matrix unit for tiles of bfloat16 and int8
	AMXFloat32              // AMX, and the unit for float32 too, by products of three bfloat16 a value
)

// String returns the level's name.
func (l Level) String() string {
	switch l {
	case Generic:
		return "generic"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	case AVX512BF16:
		return "avx512-bf16"
	case AMX:
		return "amx"
	case AMXFloat32:
		return "amx-float32"
	}
	return fmt.Sprintf("Level(%d)", uint8(l))
}

// cpuHas is what the processor and the build offer; it never changes.
var cpuHas = detect()

// active is the choice that every dispatch reads. It changes only in SetLevel.
var active = cpuHas.upTo(AMX)

// features is a level and the instruction groups beyond it.
type features struct {
	level Level
	bf16  bool // AVX512_BF16: the conversions, and from level AVX512BF16 on VDPBF16PS
	vnni  bool // AVX512_VNNI: VPDPBUSD

	pairs bool // tiles of two panels are faster, from level AVX512 on: on Intel's; others were not measured

	avxVNNI bool // AVX-VNNI: VPDPBUSD of 256 bits without AVX-512, from level AVX2 on
}

// Active returns the level in use: the best one available up to [AMX], unless
// [SetLevel] chose another. AMXFloat32 has to be asked for: it is faster for many rows on
// a core of one's own, and slower for few rows or beside another thread of the core.
func Active() Level { return active.level }

// HasBF16 says whether the level in use multiplies bfloat16 by instructions for it. Products
// in bfloat16 round both sides to it there; elsewhere weights alone are bfloat16, which are
// widened as they are read, and the arithmetic is that of float32.
func HasBF16() bool { return active.level >= AVX512BF16 }

// Available returns the levels that this processor and build can run, slowest
// first. Generic is always among them.
func Available() []Level {
	var ls []Level
	for l := Generic; l <= cpuHas.level; l++ {
		ls = append(ls, l)
	}
	return ls
}

// ParseLevel reads the name of an available level.
func ParseLevel(name string) (Level, error) {
	for _, l := range Available() {
		if l.String() == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of this machine's levels %v", name, Available())
}

// SetLevel makes l the level in use, for tests and benchmarks, and returns a
// function that undoes it. It must not run while a kernel does. Packed
// weights serve every level. It panics when l is not available.
func SetLevel(l Level) (restore func()) {
	if l > cpuHas.level {
		panic(fmt.Sprintf("kernel: SetLevel: %v is not available, the best level here is %v", l,
			cpuHas.level))
	}
	return setFeatures(cpuHas.upTo(l))
}

// upTo returns the features without what is beyond l. The groups of instructions beyond
// a level come with it.
func (f features) upTo(l Level) features {
	f.level = min(f.level, l)
	if l < AVX512 {
		f.bf16, f.vnni, f.pairs = false, false, false
	}
	if l < AVX2 {
		f.avxVNNI = false
	}
	return f
}

func setFeatures(f features) (restore func()) {
	old := active
	active = f
	return func() { active = old }
}
