package safetensors

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteRefusesWhatNoFileCanHold(t *testing.T) {
	tests := []struct {
		name  string
		specs []Spec
		want  error
	}{
		{"an unknown dtype", []Spec{{Name: "w", DType: "F31", Shape: []int{1}}}, ErrDType},
		{"a negative dimension", []Spec{{Name: "w", DType: F32, Shape: []int{-1}}}, ErrShape},
		{"an overflowing shape", []Spec{{Name: "w", DType: F32, Shape: []int{math.MaxInt, 2}}}, ErrOverflow},
		{"an overflowing file", []Spec{{Name: "v", DType: "U8", Shape: []int{1 << 59}}, {Name: "w", DType: F64, Shape: []int{1<<57 - 1}},
			{Name: "x", DType: F64, Shape: []int{1<<57 - 1}}, {Name: "y", DType: F64, Shape: []int{1<<57 - 1}}, {Name: "z", DType: F64, Shape: []int{1<<57 - 1}},
			{Name: "z1", DType: F64, Shape: []int{1<<57 - 1}}, {Name: "z2", DType: F64, Shape: []int{1<<57 - 1}}, {Name: "z3", DType: F64, Shape: []int{1<<57 - 1}},
			{Name: "z4", DType: F64, Shape: []int{1<<57 - 1}}}, ErrOverflow},
		{"half a byte", []Spec{{Name: "w", DType: "F4", Shape: []int{1}}}, ErrSize},
		{"a name twice", []Spec{{Name: "w", DType: F32}, {Name: "w", DType: F32}}, ErrDuplicate},
		{"the name of the metadata", []Spec{{Name: "__metadata__", DType: F32}}, ErrDuplicate},
		{"a name that is not UTF-8", []Spec{{Name: "\xff", DType: F32}}, ErrHeaderEncoding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Write(io.Discard, tt.specs, nil, func(io.Writer, Spec) error {
				t.Fatal("nothing is written before the header is known to be right")
				return nil
			})
			assert.ErrorIs(t, err, tt.want)
		})
	}
}

func TestWriteHoldsCallbacksToTheirSize(t *testing.T) {
	one := []Spec{{Name: "w", DType: F32, Shape: []int{2}}}
	write := func(n int) error {
		return Write(io.Discard, one, nil, func(w io.Writer, _ Spec) error {
			_, err := w.Write(make([]byte, n))
			return err
		})
	}
	assert.NoError(t, write(8))
	assert.ErrorIs(t, write(7), ErrFill)
	assert.ErrorIs(t, write(9), ErrFill)
}

func TestHeadersArePaddedToEightBytes(t *testing.T) {
	for n := range 20 {
		var b bytes.Buffer
		name := string(bytes.Repeat([]byte("n"), n))
		require.NoError(t, Write(&b, []Spec{{Name: name, DType: "U8"}}, nil, func(w io.Writer, _ Spec) error {
			_, err := w.Write([]byte{1})
			return err
		}))
		assert.Zero(t, (b.Len()-1)%8)
		_, err := Parse(b.Bytes())
		assert.NoError(t, err)
	}
}

func TestAFailedWriteLeavesTheOldFileAndNoLitter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	boom := errors.New("disk on fire")
	err := WriteFile(path, []Spec{{Name: "w", DType: F32, Shape: []int{2}}}, nil, func(io.Writer, Spec) error { return boom })
	require.ErrorIs(t, err, boom)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(got))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}
