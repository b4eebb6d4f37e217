//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// interpreter runs the assembly of the matrix unit, so that it and what calls it are
// tested on processors that have none. It knows the instructions that occur there, of
// those that are given as bytes the bytes alone, and panics at any other.
type interpreter struct {
	funcs  map[string]*program
	config []byte // what LDTILECFG reads

	r       map[string]uint64
	z       [32][16]uint32
	tmm     [8][16][16]uint32
	tiles   bool // configured
	compare int  // sign of the last result or comparison
	args    *amd64.AMXArgs
}

type program struct {
	code   []instruction
	labels map[string]int
}

type instruction struct {
	op   string
	args []string
	code []byte
}

// newInterpreter reads the generated file.
func newInterpreter(t testing.TB) *interpreter {
	text, err := os.ReadFile("amd64/amx_amd64.s")
	require.NoError(t, err)
	in := &interpreter{funcs: map[string]*program{}}
	var p *program
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " // ")
		switch f := strings.Fields(strings.ReplaceAll(line, ",", " ")); {
		case line == "" || line[0] == '/' || line[0] == '#' || f[0] == "GLOBL":
		case f[0] == "DATA":
			v, err := strconv.ParseUint(f[2][1:], 0, 32)
			require.NoError(t, err)
			in.config = binary.LittleEndian.AppendUint32(in.config, uint32(v))
		case f[0] == "TEXT":
			p = &program{labels: map[string]int{}}
			name, _, _ := strings.Cut(strings.TrimPrefix(f[1], "·"), "(")
			in.funcs[name] = p
		case strings.HasSuffix(line, ":"):
			p.labels[line[:len(line)-1]] = len(p.code)
		case f[0] == "BYTE":
			i := instruction{op: "BYTE"}
			for b := range strings.SplitSeq(line, ";") {
				v, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(b), "BYTE $"), 0, 8)
				require.NoError(t, err)
				i.code = append(i.code, byte(v))
			}
			p.code = append(p.code, i)
		default:
			p.code = append(p.code, instruction{op: f[0], args: f[1:]})
		}
	}
	return in
}

// run runs a function.
func (in *interpreter) run(name string, args *amd64.AMXArgs) {
	p := in.funcs[name]
	in.r, in.args, in.tiles = map[string]uint64{}, args, false
	for at := 0; ; at++ {
		i := p.code[at]
		switch i.op {
		case "RET":
			if in.tiles {
				panic("the tiles are not released")
			}
			return
		case "JMP", "JNE", "JEQ", "JLE", "JLT":
			if i.op == "JMP" || i.op == "JNE" && in.compare != 0 || i.op == "JEQ" && in.compare == 0 ||
				i.op == "JLE" && in.compare <= 0 || i.op == "JLT" && in.compare < 0 {
				to, ok := p.labels[i.args[0]]
				if !ok {
					panic("no label " + i.args[0])
				}
				at = to - 1
			}
		case "BYTE":
			in.tile(i.code)
		default:
			in.step(i.op, i.args)
		}
	}
}

func (in *interpreter) step(op string, a []string) {
	set := func(v uint64) { // the last operand, which decides the flags too
		in.put(a[len(a)-1], v)
		in.compare = sign(int64(v))
	}
	switch op {
	case "MOVQ":
		in.put(a[1], in.get(a[0]))
	case "LEAQ":
		in.put(a[1], uint64(in.address(a[0])))
	case "ADDQ":
		set(in.get(a[1]) + in.get(a[0]))
	case "SUBQ":
		set(in.get(a[1]) - in.get(a[0]))
	case "IMULQ":
		set(in.get(a[1]) * in.get(a[0]))
	case "IMUL3Q":
		in.put(a[2], in.get(a[0])*in.get(a[1]))
	case "XORQ":
		set(in.get(a[1]) ^ in.get(a[0]))
	case "SHLQ":
		set(in.get(a[1]) << in.get(a[0]))
	case "SHRQ":
		set(in.get(a[1]) >> in.get(a[0]))
	case "DECQ":
		set(in.get(a[0]) - 1)
	case "TESTQ":
		in.compare = sign(int64(in.get(a[0]) & in.get(a[1])))
	case "CMPQ":
		in.compare = sign(int64(in.get(a[0])) - int64(in.get(a[1])))
	case "CMPB":
		in.compare = int(*(*uint8)(pointer(in.address(a[0]))))
	case "CMOVQGT":
		if in.compare > 0 {
			in.put(a[1], in.get(a[0]))
		}
	case "PREFETCHT1":
		in.address(a[0])
	case "VZEROUPPER":
		clear(in.z[:16])
	case "VMOVUPS":
		if a[1][0] == 'Z' {
			in.z[number(a[1])] = *in.vector(a[0])
		} else {
			*in.vector(a[1]) = in.z[number(a[0])]
		}
	case "VBROADCASTSS":
		x := *(*uint32)(pointer(in.address(a[0])))
		for i := range 16 {
			in.z[number(a[1])][i] = x
		}
	case "VPBROADCASTD":
		for i := range 16 {
			in.z[number(a[1])][i] = uint32(in.get(a[0]))
		}
	case "VPANDD", "VPADDD", "VPORD":
		x, y, z := &in.z[number(a[1])], &in.z[number(a[0])], &in.z[number(a[2])]
		for i, v := range x {
			switch op {
			case "VPANDD":
				z[i] = v & y[i]
			case "VPADDD":
				z[i] = v + y[i]
			default:
				z[i] = v | y[i]
			}
		}
	case "VPSRLD":
		for i, v := range in.z[number(a[1])] {
			in.z[number(a[2])][i] = v >> in.get(a[0])
		}
	case "VPTERNLOGD":
		if a[0] != "$0xf8" {
			panic("no table " + a[0])
		}
		for i, v := range in.z[number(a[1])] {
			in.z[number(a[3])][i] |= v & in.z[number(a[2])][i]
		}
	case "VCVTDQ2PS":
		x := *in.vector(a[0])
		for i, v := range x {
			in.z[number(a[1])][i] = math.Float32bits(float32(int32(v)))
		}
	case "VADDPS", "VMULPS", "VSUBPS":
		x, y := *in.vector(a[1]), *in.vector(a[0])
		for i := range 16 {
			v, w := math.Float32frombits(x[i]), math.Float32frombits(y[i])
			switch op {
			case "VADDPS":
				v += w
			case "VSUBPS":
				v -= w
			default:
				v *= w
			}
			in.z[number(a[2])][i] = math.Float32bits(v)
		}
	default:
		panic("no instruction " + op)
	}
}

// get and put are the operands of integers.
func (in *interpreter) get(a string) uint64 {
	switch {
	case a[0] == '$':
		v, err := strconv.ParseInt(a[1:], 0, 64)
		if err != nil {
			panic(err)
		}
		return uint64(v)
	case a == "args+0(FP)":
		return uint64(uintptr(unsafe.Pointer(in.args)))
	case strings.Contains(a, "("):
		return *(*uint64)(pointer(in.address(a)))
	}
	return in.r[a]
}

func (in *interpreter) put(a string, v uint64) {
	if strings.Contains(a, "(") {
		*(*uint64)(pointer(in.address(a))) = v
		return
	}
	in.r[a] = v
}

// address returns displacement(base)(index·scale), where the displacement may be a
// field of the arguments.
func (in *interpreter) address(a string) uintptr {
	if a == "·amxConfig<>(SB)" {
		return uintptr(unsafe.Pointer(&in.config[0]))
	}
	disp, rest, _ := strings.Cut(a, "(")
	base, rest, _ := strings.Cut(rest, ")")
	at := uintptr(in.r[base])
	if field, ok := strings.CutPrefix(disp, "AMXArgs_"); ok {
		f, ok := reflect.TypeFor[amd64.AMXArgs]().FieldByName(field)
		if !ok {
			panic("no field " + field)
		}
		return at + f.Offset
	}
	if disp != "" {
		v, err := strconv.Atoi(disp)
		if err != nil {
			panic(err)
		}
		at += uintptr(v)
	}
	if rest != "" {
		index, scale, _ := strings.Cut(strings.Trim(rest, "()"), "*")
		s, err := strconv.Atoi(scale)
		if err != nil {
			panic(err)
		}
		at += uintptr(in.r[index]) * uintptr(s)
	}
	return at
}

func (in *interpreter) vector(a string) *[16]uint32 {
	if a[0] == 'Z' {
		return &in.z[number(a)]
	}
	return (*[16]uint32)(pointer(in.address(a)))
}

func number(register string) int {
	n, err := strconv.Atoi(register[1:])
	if err != nil {
		panic(err)
	}
	return n
}

// pointer returns the pointer to an address in memory that the arguments keep alive.
func pointer(at uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&at)) }

func sign(v int64) int {
	switch {
	case v < 0:
		return -1
	case v > 0:
		return 1
	}
	return 0
}

// init lets the tests of products run at level AMX by the interpreter, wherever the
// rest of the level is there.
func init() {
	if cpuHas.level < AVX512 || !cpuHas.bf16 || !cpuHas.vnni {
		return
	}
	interpreted = func(t testing.TB) (restore func()) {
		in := newInterpreter(t)
		f := cpuHas
		f.level = AMXFloat32
		restoreLevel := setFeatures(f)
		run := runMatrix
		runMatrix = func(kind tileKind, args *amd64.AMXArgs) {
			in.run(map[tileKind]string{tileBFloat16AMX: "TileBFloat16AMX", tileInt8AMX: "TileInt8AMX",
				tileFloat32AMXFloat32: "TileFloat32AMXFloat32"}[kind], args)
		}
		return func() { runMatrix = run; restoreLevel() }
	}
}
