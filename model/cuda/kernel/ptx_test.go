package kernel_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// structs are the parameters by their name in C++.
var structs = map[string]reflect.Type{
	"Rows": reflect.TypeFor[kernel.Rows](), "Score": reflect.TypeFor[kernel.Score](), "Product": reflect.TypeFor[kernel.Product](),
	"Task": reflect.TypeFor[kernel.Task](), "Attend": reflect.TypeFor[kernel.Attend](), "Route": reflect.TypeFor[kernel.Route](),
	"Combine": reflect.TypeFor[kernel.Combine](), "Quantize": reflect.TypeFor[kernel.Quantize](),
}

// argsOf returns the name of a kernel's parameters.
func argsOf(k *kernel.Kernel) string {
	switch {
	case strings.HasPrefix(k.Name, "score_"):
		return "Score"
	case k.Module == "rows" || k.Module == "squares":
		return "Rows"
	case strings.HasPrefix(k.Name, "attend_"):
		return "Attend"
	case k.Name == "choose" || k.Name == "sort":
		return "Route"
	case strings.HasPrefix(k.Name, "combine_"):
		return "Combine"
	case strings.HasPrefix(k.Name, "quantize_"):
		return "Quantize"
	}
	return "Product"
}

func TestParametersAreDeclaredAlikeInBothLanguages(t *testing.T) {
	text, err := os.ReadFile("src/args.h")
	require.NoError(t, err)
	text = regexp.MustCompile(`//[^\n]*`).ReplaceAll(text, nil)
	found := regexp.MustCompile(`(?s)struct (\w+) \{(.*?)\};`).FindAllSubmatch(text, -1)
	require.Len(t, found, len(structs))
	for _, s := range found {
		typ, i := structs[string(s[1])], 0
		require.NotNil(t, typ, "struct %s", s[1])
		for d := range strings.SplitSeq(string(s[2]), ";") {
			d = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(d), "const "))
			kind, names, _ := strings.Cut(d, " ")
			for name := range strings.SplitSeq(names, ",") {
				name = strings.TrimSpace(name)
				if name == "" {
					continue
				}
				require.Less(t, i, typ.NumField(), "%s: %s has no field in Go", s[1], name)
				f, want := typ.Field(i), map[string]reflect.Kind{"int": reflect.Int32, "float": reflect.Float32, "u64": reflect.Uint64}[kind]
				if strings.HasPrefix(name, "*") {
					want = reflect.Uint64
				}
				goName := strings.Replace(strings.ToLower(f.Name), "_", "pad", 1)
				assert.Equal(t, strings.TrimLeft(name, "*"), goName, "%s: field %d", s[1], i)
				assert.Equal(t, want, f.Type.Kind(), "%s.%s", s[1], f.Name)
				i++
			}
		}
		assert.Equal(t, typ.NumField(), i, "%s: fields", s[1])
	}
}

// An entry is what a module's text says of a kernel.
type entry struct {
	threads, bytes int
	body           string
}

var (
	entries = regexp.MustCompile(`(?s)\.visible \.entry (\w+)\(\s*\.param \.align 8 \.b8 \w+\[(\d+)\]\s*\)\s*\.maxntid (\d+)[^{]*\{(.*?)\n\}`)
	loads   = regexp.MustCompile(`ld\.param(?:\.v(\d))?\.\w(\d+)\s[^;]*\[[^+\]]+(?:\+(\d+))?\]`)
)

func entriesOf(t *testing.T, module string) map[string]entry {
	text, err := kernel.PTX(module)
	require.NoError(t, err)
	out := map[string]entry{}
	for _, m := range entries.FindAllStringSubmatch(string(text), -1) {
		bytes, _ := strconv.Atoi(m[2])
		threads, _ := strconv.Atoi(m[3])
		out[m[1]] = entry{threads, bytes, m[4]}
	}
	assert.Len(t, out, strings.Count(string(text), ".visible .entry"), "module %s: entries with one struct and a number of threads", module)
	return out
}

func TestKernelsReadTheParametersThatTheTableSays(t *testing.T) {
	modules := map[string]map[string]entry{}
	for _, k := range kernel.Table {
		t.Run(k.Name, func(t *testing.T) {
			if modules[k.Module] == nil {
				modules[k.Module] = entriesOf(t, k.Module)
			}
			e, ok := modules[k.Module][k.Name]
			require.True(t, ok, "the module %s has no such entry", k.Module)
			assert.Equal(t, e.threads, k.Threads, "threads")
			typ := structs[argsOf(k)]
			assert.EqualValues(t, typ.Size(), e.bytes, "bytes of parameters")
			fields := map[int]int{} // bytes by offset
			for i := range typ.NumField() {
				fields[int(typ.Field(i).Offset)] = int(typ.Field(i).Type.Size())
			}
			for _, l := range loads.FindAllStringSubmatch(e.body, -1) {
				n, _ := strconv.Atoi(l[1])
				bits, _ := strconv.Atoi(l[2])
				at, _ := strconv.Atoi(l[3])
				for i := range max(n, 1) {
					assert.Equal(t, bits/8, fields[at+i*bits/8], l[0])
				}
			}
		})
	}
	for module, found := range modules {
		for name := range found {
			assert.Contains(t, kernel.Table, name, "an entry of the module %s", module)
		}
	}
}

func TestPTXIsWhatTheCompilerMakesOfTheSources(t *testing.T) {
	if os.Getenv("WARM_BUILDS") == "" {
		t.Skip("compiles all kernels: set WARM_BUILDS=1")
	}
	if _, err := exec.LookPath("clang++-19"); err != nil {
		t.Skipf("clang++-19 (Debian's clang-19) is not installed, so that committed PTX cannot be compared: %v", err)
	}
	dir := t.TempDir()
	out, err := exec.Command("bash", "build.sh", dir).CombinedOutput()
	require.NoError(t, err, "build.sh: %s", out)
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	committed, err := filepath.Glob("ptx/*")
	require.NoError(t, err)
	assert.Len(t, committed, len(made), "modules in ptx")
	for _, f := range made {
		want, err := os.ReadFile(f)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("ptx", filepath.Base(f)))
		require.NoError(t, err)
		assert.True(t, string(want) == string(got), "%s is not what the sources give: run model/cuda/kernel/build.sh", filepath.Base(f))
	}
}

// ptxasVersion is the one that cubin.sh is for.
const ptxasVersion = "release 12.4, V12.4.131"

// Each card's folder has every module that it runs, of the PTX that is there, and nothing else.
func TestCubinsAreOfTheCommittedPTX(t *testing.T) {
	folders, err := filepath.Glob("cubin/sm_*")
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for _, folder := range folders {
		capability, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(folder), "sm_"))
		require.NoError(t, err)
		texts, err := filepath.Glob("ptx/*.ptx")
		require.NoError(t, err)
		want := 0
		for _, f := range texts {
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			target := regexp.MustCompile(`(?m)^\.target sm_(\d+)(a?)`).FindSubmatch(text)
			least, _ := strconv.Atoi(string(target[1]))
			if least > capability || least != capability && len(target[2]) > 0 {
				continue
			}
			want++
			code, ok := kernel.Cubin(strings.TrimSuffix(filepath.Base(f), ".ptx"), capability)
			if assert.True(t, ok, "%s has no code of this %s: run model/cuda/kernel/cubin.sh 80 86 89 90, or remove cubin/sm_*", folder, f) {
				assert.Equal(t, "\x7fELF", string(code[:4]))
			}
		}
		found, err := filepath.Glob(folder + "/*")
		require.NoError(t, err)
		assert.Len(t, found, want, "%s: files of PTX that is no more", folder)
	}
}

func TestCubinsAreWhatPTXASMakesOfThePTX(t *testing.T) {
	ptxas := os.Getenv("PTXAS")
	if ptxas == "" {
		t.Skip("set PTXAS to the ptxas of CUDA 12.4 to compare committed machine code, which takes half a minute")
	}
	version, err := exec.Command(ptxas, "--version").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(version), ptxasVersion)
	dir := t.TempDir()
	script := exec.Command("bash", "cubin.sh", "80", "86", "89", "90")
	script.Env = append(os.Environ(), "OUT="+dir)
	out, err := script.CombinedOutput()
	require.NoError(t, err, "cubin.sh: %s", out)
	made, err := filepath.Glob(dir + "/sm_*/*")
	require.NoError(t, err)
	require.NotEmpty(t, made)
	for _, f := range made {
		rel, err := filepath.Rel(dir, f)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("cubin", rel))
		require.NoError(t, err)
		want, err := os.ReadFile(f)
		require.NoError(t, err)
		assert.Equal(t, unpacked(t, want), unpacked(t, got), rel)
	}
}

// unpacked undoes gzip, of which versions may differ.
func unpacked(t *testing.T, b []byte) [32]byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	code, err := io.ReadAll(r)
	require.NoError(t, err)
	return sha256.Sum256(code)
}

func TestKernelsThatFollowAreThoseThatWait(t *testing.T) {
	for name := range kernel.Table {
		for _, capability := range []int{80, 90} {
			k := kernel.For(name, capability)
			text, err := kernel.PTX(k.Module)
			require.NoError(t, err)
			_, body, ok := strings.Cut(string(text), ".entry "+name+"(")
			require.True(t, ok, name)
			body, _, _ = strings.Cut(body, ".entry ")
			assert.Equal(t, strings.Contains(body, "griddepcontrol.wait"), k.Follows, "%s of %s", name, k.Module)
		}
	}
}
