package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// What pickles are made of, in protocol 2.

func str(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// num is LONG1 of eight bytes.
func num(v int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

func tup(items ...string) string { return "(" + strings.Join(items, "") + "t" }

func nums(v ...int64) string {
	var out []string
	for _, x := range v {
		out = append(out, num(x))
	}
	return tup(out...)
}

// refer is a reference to a storage.
func refer(class, key string, elements int64) string {
	return tup(str("storage"), "ctorch\n"+class+"\n", str(key), str("cpu"), num(elements)) + "Q"
}

func rebuilt(storage string, offset int64, shape, stride string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n" + tup(storage, num(offset), shape, stride, "\x89", "ccollections\nOrderedDict\n)R") + "R"
}

// state is a whole program: a dict of names and values.
func state(pairs ...string) string {
	return "\x80\x02}(" + strings.Join(pairs, "") + "u."
}

// floats is a tensor of a storage of its own.
func floats(key string, n int64) string {
	return rebuilt(refer("FloatStorage", key, n), 0, nums(n), nums(1))
}

type entry struct {
	name string
	data []byte
}

// archive is a zip archive of stored entries.
func archive(t testing.TB, program string, entries ...entry) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range append([]entry{{"a/data.pkl", []byte(program)}}, entries...) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: zip.Store})
		require.NoError(t, err)
		_, err = f.Write(e.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func storageOf(key string, bytes int) entry { return entry{"a/data/" + key, make([]byte, bytes)} }

// patched returns data with the last of old in it replaced, which has the same length.
func patched(t testing.TB, data []byte, old, with string) []byte {
	require.Len(t, with, len(old))
	i := bytes.LastIndex(data, []byte(old))
	require.GreaterOrEqual(t, i, 0)
	out := bytes.Clone(data)
	copy(out[i:], with)
	return out
}

func TestProgramsOfTheTestsAreWhatTorchWrites(t *testing.T) {
	f, err := Parse("x.bin", archive(t, state(str("w"), floats("0", 6)), storageOf("0", 24)))
	require.NoError(t, err)
	require.Len(t, f.Tensors, 1)
	assert.Equal(t, []int{6}, f.Tensors[0].Shape)
	assert.Equal(t, safetensors.F32, f.Tensors[0].DType)
}

func TestHostileProgramsAreRefused(t *testing.T) {
	huge := string(binary.LittleEndian.AppendUint64(nil, 1<<62))
	tests := []struct {
		name    string
		program string
		want    error
		says    string
	}{
		{"os.system", "\x80\x02cos\nsystem\n" + tup(str("true")) + "R.", ErrCall, `x.bin asks to call "os.system": refused`},
		{"os.system by STACK_GLOBAL", "\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x04truetR.", ErrCall, `"os.system"`},
		{"eval", "\x80\x02cbuiltins\neval\n.", ErrCall, `"builtins.eval"`},
		{"a function of torch that loads", "\x80\x02ctorch\nload\n.", ErrCall, `"torch.load"`},
		{"a name with dots that reaches through a module", "\x80\x04\x8c\x0dcollections.x\x8c\x0bOrderedDict\x93.", ErrCall, "collections.x.OrderedDict"},
		{"a member of an allowed name", "\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.", ErrCall, "fromkeys"},
		{"a name of a megabyte", "\x80\x02c" + strings.Repeat("x", 1<<20) + "\ny\n.", ErrCall, ""},
		{"INST", "\x80\x02(ios\nsystem\n.", ErrProgram, "does not write"},
		{"OBJ", "\x80\x02(ccollections\nOrderedDict\no.", ErrProgram, "does not write"},
		{"NEWOBJ", "\x80\x02ccollections\nOrderedDict\n)\x81.", ErrProgram, "does not write"},
		{"an extension", "\x80\x02\x82\x01.", ErrProgram, "does not write"},
		{"protocol 1", "\x80\x01}.", ErrProgram, "protocol 1"},
		{"protocol 6", "\x80\x06}.", ErrProgram, "protocol 6"},
		{"an allowed function called with what it does not take", "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", ErrProgram, "0 arguments"},
		{"a storage class that is called", "\x80\x02ctorch\nFloatStorage\n" + nums(1<<40) + "R.", ErrProgram, ""},
		{"OrderedDict of items", "\x80\x02ccollections\nOrderedDict\n" + tup("]") + "R.", ErrProgram, ""},
		{"a string that is called", "\x80\x02" + str("os.system") + tup() + "R.", ErrProgram, "a string"},
		{"a parameter of itself", "\x80\x02ctorch._utils\n_rebuild_parameter\n" + tup("N", "\x89", "N") + "R.", ErrProgram, ""},
		{"attributes of a tensor", state(str("w"), floats("0", 6)+"}b"), ErrProgram, "attributes"},
		{"a value missing", "\x80\x02R.", ErrProgram, "missing"},
		{"a mark for a value", "\x80\x02(.", ErrProgram, "missing"},
		{"a mark that is remembered", "\x80\x02(q\x00.", ErrProgram, "missing"},
		{"no mark", "\x80\x02}u.", ErrProgram, "missing"},
		{"a key without a value", "\x80\x02}(" + str("w") + "u.", ErrProgram, ""},
		{"keys of a tuple", "\x80\x02)(" + str("w") + "Nu.", ErrProgram, "a tuple"},
		{"appending to a dict", "\x80\x02}Na.", ErrProgram, "a dict"},
		{"what was never remembered", "\x80\x02h\x07.", ErrProgram, "remembered"},
		{"the end in the middle", "\x80\x02}(X", ErrProgram, "ends"},
		{"no end", "\x80\x02}", ErrProgram, "ends"},
		{"a name without an end", "\x80\x02cos", ErrProgram, "ends"},
		{"a string of 4 GiB", "\x80\x02X\xff\xff\xff\xff.", ErrProgram, "ends"},
		{"a string of 2^62 bytes", "\x80\x04\x8d" + huge + ".", ErrProgram, "ends"},
		{"a frame of 2^62 bytes", "\x80\x04\x95" + huge + "}.", ErrProgram, "frame"},
		{"a string that is not UTF-8", "\x80\x02" + str("\xff") + ".", ErrProgram, "UTF-8"},
		{"a list that holds itself", "\x80\x02]q\x00h\x00a.", ErrContents, "a list"},
		{"a dict that holds itself", "\x80\x02}q\x00(" + str("w") + "h\x00u.", ErrContents, "a dict"},
		{"tuples of tuples, each of the last one twice", "\x80\x02)" + strings.Repeat("q\x00h\x00\x86", 1000) + ".", ErrContents, "a tuple"},
		{"values without end", "\x80\x02" + strings.Repeat("]", maxValues+1) + ".", ErrLimit, "values"},
		{"more bytes than a program has", "\x80\x02" + strings.Repeat("\x80\x02", maxProgram/2) + "}.", ErrLimit, "bytes"},
		{"a string of more bytes than a program has", "\x80\x02" + str(strings.Repeat("x", maxProgram)) + ".", ErrLimit, "bytes"},
		{"a key that is a number", state(num(1), floats("0", 6)), ErrContents, "a number"},
		{"a tensor for a key", state(floats("0", 6), floats("0", 6)), ErrContents, "a tensor"},
		{"a storage for a tensor", state(str("w"), refer("FloatStorage", "0", 6)), ErrContents, "a storage"},
		{"a class for a tensor", state(str("w"), "ctorch\nFloatStorage\n"), ErrContents, "torch.FloatStorage"},
		{"a name twice", state(str("w"), floats("0", 6), str("w"), floats("0", 6)), ErrTensor, "twice"},
		{"a reference to no storage", "\x80\x02" + tup(str("module"), str("x"), str("0"), str("cpu"), num(6)) + "Q.", ErrProgram, ""},
		{"a reference of numbers", "\x80\x02K\x01Q.", ErrProgram, ""},
		{"a reference to a class that is a string", "\x80\x02" + tup(str("storage"), str("torch.FloatStorage"), str("0"), str("cpu"), num(6)) + "Q.", ErrProgram, ""},
		{"a negative number of elements", state(str("w"), floats("0", -1)), ErrStorage, "-1"},
		{"2^60 elements", state(str("w"), floats("0", 1<<60)), ErrStorage, ""},
		{"a number of elements beyond 64 bits", "\x80\x02" + tup(str("storage"), "ctorch\nFloatStorage\n", str("0"), str("cpu"), "\x8a\x09123456789") + "Q.", ErrProgram, "bytes"},
		{"a storage that is two", state(str("v"), floats("0", 6), str("w"), floats("0", 5)), ErrStorage, "5"},
		{"a storage of two types", state(str("v"), floats("0", 6), str("w"), rebuilt(refer("LongStorage", "0", 6), 0, nums(1), nums(1))), ErrStorage, "I64"},
		{"a storage that is not there", state(str("w"), floats("1", 6)), ErrStorage, `"1"`},
		{"a storage outside of data", state(str("w"), floats("../data.pkl", 6)), ErrStorage, ""},
		{"a storage of fewer bytes", state(str("w"), floats("0", 7)), ErrStorage, "24 bytes, want 7"},
		{"a storage of more bytes", state(str("w"), floats("0", 5)), ErrStorage, "24 bytes, want 5"},
		{"a storage of the same elements and another width", state(str("w"), rebuilt(refer("HalfStorage", "0", 6), 0, nums(6), nums(1))), ErrStorage, "24 bytes"},
		{"a storage that nothing uses, of fewer bytes", "\x80\x02" + refer("FloatStorage", "0", 7) + "0}.", ErrProgram, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("x.bin", archive(t, test.program, storageOf("0", 24)))
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, test.says)
			assert.Less(t, len(err.Error()), 600)
		})
	}
}

func TestTensorsOutsideOfTheirStorageAreRefused(t *testing.T) {
	const top = 1<<63 - 1
	tests := []struct {
		name          string
		offset        int64
		shape, stride string
		want          error
	}{
		{"one element more", 0, nums(7), nums(1), ErrTensor},
		{"an offset of one", 1, nums(6), nums(1), ErrTensor},
		{"a negative offset", -1, nums(1), nums(1), ErrTensor},
		{"the largest offset", top, nums(1), nums(1), ErrTensor},
		{"a negative size", 0, nums(-1), nums(1), ErrTensor},
		{"two negative sizes", 0, nums(-2, -3), nums(3, 1), ErrTensor},
		{"a negative stride", 5, nums(2), nums(-1), ErrTensor},
		{"a stride that leaves", 0, nums(2), nums(6), ErrTensor},
		{"the largest stride", 0, nums(2), nums(top), ErrTensor},
		{"the largest size", 0, nums(top), nums(0), ErrTensor},
		{"a size and a stride that overflow", 0, nums(1<<40, 1<<40), nums(1<<40, 1<<40), ErrTensor},
		{"sizes whose product overflows to 0", 0, nums(1<<32, 1<<32), nums(0, 0), ErrTensor},
		{"sizes whose product overflows, and a 0", 0, nums(0, 1<<40, 1<<40), nums(0, 0, 0), ErrTensor},
		{"more elements than the storage", 0, nums(7), nums(0), ErrTensor},
		{"one stride too few", 0, nums(2, 3), nums(1), ErrTensor},
		{"65 dimensions", 0, nums(make([]int64, 65)...), nums(make([]int64, 65)...), ErrProgram},
		{"sizes that are no tuple", 0, num(6), nums(1), ErrProgram},
		{"sizes that are strings", 0, tup(str("6")), nums(1), ErrProgram},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			program := state(str("w"), rebuilt(refer("FloatStorage", "0", 6), test.offset, test.shape, test.stride))
			_, err := Parse("x.bin", archive(t, program, storageOf("0", 24)))
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestViewsThatAskForManyTimesTheFileAreRefused(t *testing.T) {
	const n = 1 << 16
	for name, stride := range map[string][2]int64{"in order": {256, 1}, "transposed": {1, 256}} {
		t.Run(name, func(t *testing.T) {
			var pairs []string
			for i := range 64 {
				pairs = append(pairs, str(strings.Repeat("w", i+1)), rebuilt(refer("FloatStorage", "0", n), 0, nums(256, 256), nums(stride[0], stride[1])))
			}
			data := archive(t, state(pairs...), storageOf("0", 4*n))
			_, err := Parse("x.bin", data)
			require.ErrorIs(t, err, ErrLimit)
		})
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	program := state(str("w"), floats("0", 6))
	good := archive(t, program, storageOf("0", 24))
	compressed := func() []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, e := range []entry{{"a/data.pkl", []byte(program)}, {"a/data/0", make([]byte, 64<<20)}} {
			f, err := w.Create(e.name)
			require.NoError(t, err)
			_, err = f.Write(e.data)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	// directory returns a copy in which a field of the last entry of the directory is another.
	directory := func(offset int, value []byte) []byte {
		out := bytes.Clone(good)
		copy(out[bytes.LastIndex(out, []byte("PK\x01\x02"))+offset:], value)
		return out
	}
	first := bytes.Index(good, []byte("a/data.pkl")) // where the first entry's name is, 30 bytes behind its header
	require.Equal(t, 30, first)
	tests := []struct {
		name string
		file []byte
		want error
		says string
	}{
		{"an empty file", nil, ErrFormat, "neither"},
		{"zeros", make([]byte, 1000), ErrFormat, "neither"},
		{"a page of a website", []byte("<!DOCTYPE html><html>"), ErrFormat, "HTML"},
		{"a pointer of git-LFS", []byte("version https://git-lfs.github.com/spec/v1\n"), ErrFormat, "git lfs pull"},
		{"a pickle of something else", []byte("\x80\x02}."), ErrFormat, "none of torch's"},
		{"an archive without a pickle", patched(t, good, "a/data.pkl", "a/data.txt"), ErrFormat, "without data.pkl"},
		{"two pickles", archive(t, program, storageOf("0", 24), entry{"b/data.pkl", nil}), ErrFormat, "two"},
		{"an entry twice", archive(t, program, storageOf("0", 24), storageOf("0", 24)), ErrFormat, "twice"},
		{"a program of TorchScript", archive(t, program, storageOf("0", 24), entry{"a/constants.pkl", nil}), ErrContents, "TorchScript"},
		{"numbers of another machine", archive(t, program, storageOf("0", 24), entry{"a/byteorder", []byte("big")}), ErrByteOrder, "big-endian"},
		{"compressed entries, 64 MiB of zeros", compressed(), ErrCompressed, "torch.load"},
		{"an encrypted entry", directory(8, []byte{1, 0}), ErrCompressed, ""},
		{"a compressed size that differs", directory(20, []byte{23}), ErrCompressed, ""},
		{"an entry over another one", directory(42, []byte{0, 0, 0, 0}), ErrOverlap, ""},
		{"an entry behind the end", directory(42, []byte{0xff, 0xff, 0xff, 0x7f}), ErrFormat, ""},
		{"an entry longer than the file", directory(20, []byte{0xff, 0xff, 0xff, 0x7e, 0xff, 0xff, 0xff, 0x7e}), ErrFormat, ""},
		{"more entries than there are", patched(t, good, "PK\x05\x06\x00\x00\x00\x00\x02\x00\x02\x00", "PK\x05\x06\x00\x00\x00\x00\xf0\xff\xf0\xff"), ErrFormat, "cut short"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("x.bin", test.file)
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, test.says)
			path := filepath.Join(t.TempDir(), "x.bin")
			require.NoError(t, os.WriteFile(path, test.file, 0o600))
			_, err = Open(path)
			require.ErrorIs(t, err, test.want)
		})
	}
}

// TestADirectoryOfMillionsOfEntriesIsRefusedEarly builds an archive that is a directory alone.
func TestADirectoryOfMillionsOfEntriesIsRefusedEarly(t *testing.T) {
	one := make([]byte, 47)
	copy(one, "PK\x01\x02")
	one[28] = 1 // a name of one byte
	const n = 2 << 20
	b := append([]byte("PK\x03\x04"), bytes.Repeat(one, n)...)
	end := append([]byte("PK\x06\x06"), make([]byte, 52)...) // of zip64
	binary.LittleEndian.PutUint64(end[4:], 44)
	for _, at := range []int{24, 32} {
		binary.LittleEndian.PutUint64(end[at:], n)
	}
	binary.LittleEndian.PutUint64(end[40:], n*47)
	binary.LittleEndian.PutUint64(end[48:], 4)
	locator := append([]byte("PK\x06\x07\x00\x00\x00\x00"), binary.LittleEndian.AppendUint64(nil, uint64(len(b)))...)
	b = append(append(append(b, end...), locator...), 1, 0, 0, 0)
	b = append(append(b, "PK\x05\x06\x00\x00\x00\x00"...), bytes.Repeat([]byte{0xff}, 12)...)
	b = append(b, 0, 0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse("x.bin", b)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrLimit)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
}

func TestOldFilesMustBeWhole(t *testing.T) {
	data, err := os.ReadFile("testdata/legacy.bin")
	require.NoError(t, err)
	for name, file := range map[string][]byte{
		"bytes behind the last storage": append(bytes.Clone(data), 0),
		"another magic number":          append([]byte("\x80\x02\x8a\x0a"), bytes.Repeat([]byte{1}, 200)...),
		"another version":               bytes.Replace(data, []byte("M\xe9\x03."), []byte("M\xe8\x03."), 1),
		"big-endian":                    bytes.Replace(data, []byte("little_endianq\x02\x88"), []byte("little_endianq\x02\x89"), 1),
	} {
		require.False(t, bytes.Equal(data, file), name)
		_, err := Parse("x.bin", file)
		assert.Error(t, err, name)
	}
}

// FuzzParse holds that no file makes the reader panic, and that what it returns can be read.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.bin", "testdata/refused/*.bin"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, path := range files {
			data, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Add(archive(f, state(str("w"), rebuilt(refer("FloatStorage", "0", 6), 0, nums(3, 2), nums(1, 3))), storageOf("0", 24)))
	f.Fuzz(func(t *testing.T, data []byte) { readAll(t, data) })
}

// FuzzProgram has the program alone for its input.
func FuzzProgram(f *testing.F) {
	f.Add([]byte(state(str("w"), floats("0", 6))))
	f.Add([]byte("\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01w\x94K\x01s."))
	f.Add([]byte(state(str("w"), rebuilt(refer("FloatStorage", "0", 6), 1, nums(2, 2), nums(1, 2)))))
	f.Add([]byte("\x80\x02ctorch._utils\n_rebuild_parameter\n" + tup(floats("0", 6), "\x88", "N") + "R."))
	f.Fuzz(func(t *testing.T, program []byte) { readAll(t, archive(t, string(program), storageOf("0", 24))) })
}

func readAll(t *testing.T, data []byte) {
	file, err := Parse("x.bin", data)
	if err != nil {
		return
	}
	total := 0
	for i := range file.Tensors {
		x := &file.Tensors[i]
		total += len(x.Data)
		if x.DType.Float() {
			require.NoError(t, x.ReadAt(make([]float32, x.Elements()), 0))
		}
	}
	require.LessOrEqual(t, total, maxSharing*len(data))
}
