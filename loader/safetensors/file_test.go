package safetensors

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fillF32 fills every tensor with its element numbers, plus the length of its name.
func fillF32(w io.Writer, s Spec) error {
	n, err := s.Bytes()
	if err != nil {
		return err
	}
	values := make([]float32, n/int64(s.DType.Bits()/8))
	for i := range values {
		values[i] = float32(i + len(s.Name))
	}
	b := make([]byte, n)
	if s.DType == BF16 {
		EncodeBF16(b, values)
	} else {
		EncodeF32(b, values)
	}
	_, err = w.Write(b)
	return err
}

var specs = []Spec{
	{Name: "half", DType: BF16, Shape: []int{3}},
	{Name: "b.weight", DType: F32, Shape: []int{2, 3}},
	{Name: "a.weight", DType: F32, Shape: []int{5}},
	{Name: "scalar", DType: F32},
	{Name: "empty", DType: F32, Shape: []int{0, 4}},
	{Name: "é <&>", DType: F32, Shape: []int{1}},
}

func TestWrittenFilesAreDeterministicAndReadBack(t *testing.T) {
	meta := map[string]string{"format": "pt", "z": "<&>"}
	var first, second bytes.Buffer
	require.NoError(t, Write(&first, specs, meta, fillF32))
	reversed := append([]Spec(nil), specs...)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	require.NoError(t, Write(&second, reversed, meta, fillF32))
	assert.True(t, bytes.Equal(first.Bytes(), second.Bytes()), "the order of the specs shows in the file")

	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, WriteFile(path, specs, meta, fillF32))
	onDisk, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(first.Bytes(), onDisk))

	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, meta, f.Metadata)
	require.Len(t, f.Tensors, len(specs))
	assert.Equal(t, "half", f.Tensors[len(specs)-1].Name, "narrow elements come last")
	for i := range f.Tensors {
		tensor := &f.Tensors[i]
		got := make([]float32, tensor.Elements())
		require.NoError(t, tensor.ReadAt(got, 0))
		for j, v := range got {
			assert.Equal(t, float32(j+len(tensor.Name)), v)
		}
		if view, ok := tensor.Float32s(); tensor.DType == F32 && littleEndian {
			require.True(t, ok, "the writer aligns every F32 tensor")
			assert.Equal(t, got, view)
		} else {
			assert.False(t, ok)
		}
	}
}

func TestMisalignedTensorsAreRead(t *testing.T) {
	file := build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}`, 9)
	EncodeF32(file[len(file)-8:], []float32{1.5, -2})
	for shift := range 4 { // One of the four shifts is aligned by chance; the values must not care.
		buf := make([]byte, shift+len(file))
		copy(buf[shift:], file)
		f, err := Parse(buf[shift:])
		require.NoError(t, err)
		got := make([]float32, 2)
		require.NoError(t, f.Tensors[1].ReadAt(got, 0))
		assert.Equal(t, []float32{1.5, -2}, got)
		if view, ok := f.Tensors[1].Float32s(); ok {
			assert.Equal(t, got, view)
		}
	}
}

func TestReadAtRefusesWhatIsOutside(t *testing.T) {
	f, err := Parse(build(`{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"i":{"dtype":"I64","shape":[1],"data_offsets":[16,24]}}`, 24))
	require.NoError(t, err)
	w, ints := &f.Tensors[0], &f.Tensors[1]
	assert.NoError(t, w.ReadAt(make([]float32, 4), 0))
	assert.NoError(t, w.ReadAt(nil, 4))
	for _, tt := range []struct {
		name      string
		n, offset int
	}{{"too many", 5, 0}, {"behind the end", 1, 4}, {"far behind the end", 1, math.MaxInt}, {"negative", 1, -1}} {
		t.Run(tt.name, func(t *testing.T) {
			assert.ErrorIs(t, w.ReadAt(make([]float32, tt.n), tt.offset), ErrRange)
		})
	}
	assert.ErrorIs(t, ints.ReadAt(make([]float32, 1), 0), ErrDType)
}

func TestOpenNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := Open(path)
	require.ErrorIs(t, err, ErrTooSmall)
	assert.Contains(t, err.Error(), path)
	_, err = Open(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(dir)
	assert.Error(t, err)
}

func TestReadsSurviveAFileThatShrinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the file is read, not mapped, on this system")
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, WriteFile(path, []Spec{{Name: "w", DType: F32, Shape: []int{1 << 16}}}, nil, fillF32))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(path, 4096))
	err = f.Tensors[0].ReadAt(make([]float32, 1<<16), 0)
	require.ErrorIs(t, err, ErrShrunk)
	assert.Contains(t, err.Error(), `"w"`)
	assert.NoError(t, f.Tensors[0].ReadAt(make([]float32, 16), 0), "what is still there is still read")
}

func TestGuardPassesOtherPanicsAndErrors(t *testing.T) {
	want := errors.New("mine")
	assert.ErrorIs(t, Guard(func() error { return want }), want)
	assert.PanicsWithValue(t, "bug", func() { _ = Guard(func() error { panic("bug") }) })
	assert.Panics(t, func() {
		_ = Guard(func() error {
			var p *int
			*p = 1 // A nil dereference is a bug, not a shrunk file.
			return nil
		})
	})
}

func TestClosedFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, WriteFile(path, []Spec{{Name: "w", DType: F32, Shape: []int{4}}}, nil, fillF32))
	f, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	assert.ErrorIs(t, f.Tensors[0].ReadAt(make([]float32, 1), 0), ErrClosed)
}

func TestAdviceChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	many := []Spec{{Name: "a", DType: F32, Shape: []int{5000}}, {Name: "b", DType: F32, Shape: []int{3}}, {Name: "c", DType: F32, Shape: []int{9000}}}
	require.NoError(t, WriteFile(path, many, nil, fillF32))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range f.Tensors {
				tensor := &f.Tensors[i]
				f.Prefetch(tensor)
				got := make([]float32, tensor.Elements())
				if assert.NoError(t, tensor.ReadAt(got, 0)) {
					for j, v := range got {
						if v != float32(j+1) {
							t.Errorf("tensor %q element %d is %v", tensor.Name, j, v)
							return
						}
					}
				}
				f.Release(tensor)
			}
		})
	}
	wg.Wait()
}

func TestReadAtAllocatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, WriteFile(path, specs, nil, fillF32))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	dst := make([]float32, 3)
	for _, i := range []int{0, len(f.Tensors) - 1} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { _ = f.Tensors[i].ReadAt(dst, 0) }), f.Tensors[i].Name)
	}
}
