package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// build puts a header and n bytes of data together, with the true header length.
func build(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// lying builds a file whose header length is a lie.
func lying(length uint64, header string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, length), header...)
}

func TestParseRefusesHostileFiles(t *testing.T) {
	one := func(entry string) string { return `{"w":` + entry + `}` }
	tests := []struct {
		name   string
		file   []byte
		want   error
		tensor string // what the error names; empty when it is about the file
	}{
		{"an empty file", nil, ErrTooSmall, ""},
		{"seven bytes", make([]byte, 7), ErrTooSmall, ""},
		{"a header over the limit", lying(MaxHeader+1, "{}"), ErrHeaderTooLarge, ""},
		{"a header length that is negative as int64", lying(1<<63, "{}"), ErrHeaderTooLarge, ""},
		{"a header length that overflows when 8 is added", lying(1<<64-1, "{}"), ErrHeaderTooLarge, ""},
		{"a header longer than the file", lying(3, "{}"), ErrHeaderTruncated, ""},
		{"a header that is not UTF-8", build("{\"\xff\":1}", 0), ErrHeaderEncoding, ""},
		{"an empty header", build("", 0), ErrHeaderJSON, ""},
		{"a header with a space in front", build(" {}", 0), ErrHeaderJSON, ""},
		{"a header that is an array", build("[]", 0), ErrHeaderJSON, ""},
		{"a header cut in the middle", build(`{"w":{"dtype"`, 0), ErrHeaderJSON, ""},
		{"two objects", build("{}{}", 0), ErrHeaderJSON, ""},
		{"a NUL as padding", build("{}\x00", 0), ErrHeaderJSON, ""},
		{"metadata that is a string", build(`{"__metadata__":"pt"}`, 0), ErrMetadata, ""},
		{"metadata with a number in it", build(`{"__metadata__":{"format":1}}`, 0), ErrMetadata, ""},
		{"metadata with an object in it", build(`{"__metadata__":{"format":{}}}`, 0), ErrMetadata, ""},
		{"metadata with a key twice", build(`{"__metadata__":{"a":"1","a":"2"}}`, 0), ErrDuplicate, "__metadata__"},
		{"metadata twice", build(`{"__metadata__":{},"__metadata__":{}}`, 0), ErrDuplicate, "__metadata__"},
		{"a name twice", build(`{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), ErrDuplicate, "w"},
		{"a name twice in different spellings", build(`{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0077":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), ErrDuplicate, "w"},
		{"dtype twice", build(one(`{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}`), 1), ErrDuplicate, "w"},
		{"shape twice", build(one(`{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}`), 1), ErrDuplicate, "w"},
		{"data_offsets twice", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}`), 1), ErrDuplicate, "w"},
		{"an entry that is null", build(one(`null`), 0), ErrEntry, "w"},
		{"an unknown key", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1],"scale":2}`), 1), ErrEntry, "w"},
		{"no dtype", build(one(`{"shape":[1],"data_offsets":[0,1]}`), 1), ErrEntry, "w"},
		{"no shape", build(one(`{"dtype":"U8","data_offsets":[0,1]}`), 1), ErrEntry, "w"},
		{"no data_offsets", build(one(`{"dtype":"U8","shape":[1]}`), 1), ErrEntry, "w"},
		{"a dtype that is null", build(one(`{"dtype":null,"shape":[1],"data_offsets":[0,1]}`), 1), ErrEntry, "w"},
		{"a dtype that is a number", build(one(`{"dtype":32,"shape":[1],"data_offsets":[0,1]}`), 1), ErrEntry, "w"},
		{"a shape that is a number", build(one(`{"dtype":"U8","shape":1,"data_offsets":[0,1]}`), 1), ErrEntry, "w"},
		{"a dimension that is a string", build(one(`{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}`), 1), ErrEntry, "w"},
		{"an unknown dtype", build(one(`{"dtype":"F31","shape":[1],"data_offsets":[0,4]}`), 4), ErrDType, "w"},
		{"a dtype in lower case", build(one(`{"dtype":"f32","shape":[1],"data_offsets":[0,4]}`), 4), ErrDType, "w"},
		{"a negative dimension", build(one(`{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}`), 1), ErrShape, "w"},
		{"two negative dimensions", build(one(`{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}`), 1), ErrShape, "w"},
		{"a fractional dimension", build(one(`{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}`), 1), ErrShape, "w"},
		{"a dimension with an exponent", build(one(`{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}`), 1), ErrShape, "w"},
		{"a dimension over 64 bits", build(one(`{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}`), 1), ErrOverflow, "w"},
		{"a dimension over 63 bits", build(one(`{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}`), 1), ErrOverflow, "w"},
		{"a product that wraps to zero", build(one(`{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}`), 0), ErrOverflow, "w"},
		{"a size in bytes that wraps to zero", build(one(`{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}`), 0), ErrOverflow, "w"},
		{"half a byte", build(one(`{"dtype":"F4","shape":[3],"data_offsets":[0,1]}`), 1), ErrSize, "w"},
		{"one offset", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[0]}`), 1), ErrOffsets, "w"},
		{"a negative offset", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}`), 1), ErrOffsets, "w"},
		{"offsets in the wrong order", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[1,0]}`), 1), ErrOffsets, "w"},
		{"offsets too short for the shape", build(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), 4), ErrSize, "w"},
		{"offsets too long for the shape", build(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,12]}`), 12), ErrSize, "w"},
		{"an end behind the file", build(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`), 7), ErrTruncated, "w"},
		{"an end far behind the file", build(one(`{"dtype":"U8","shape":[576460752303423488],"data_offsets":[1,576460752303423489]}`), 1), ErrTruncated, "w"},
		{"an overlap", build(`{"v":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), ErrOverlap, "w"},
		{"two tensors on the same bytes", build(`{"v":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2), ErrOverlap, "w"},
		{"a hole", build(`{"v":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), ErrHole, "w"},
		{"a hole in front", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[1,2]}`), 2), ErrHole, "w"},
		{"trailing bytes", build(one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`), 2), ErrTrailing, ""},
		{"data without a tensor", build("{}", 1), ErrTrailing, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.file)
			require.ErrorIs(t, err, tt.want)
			var te *TensorError
			if tt.tensor == "" {
				assert.False(t, errors.As(err, &te), "an error about the file names tensor %v", te)
				return
			}
			require.ErrorAs(t, err, &te)
			assert.Equal(t, tt.tensor, te.Name)
			assert.Contains(t, err.Error(), `"`+tt.tensor+`"`)
		})
	}
}

func TestParseAcceptsLegalOddities(t *testing.T) {
	tests := []struct {
		name string
		file []byte
		want []int // elements of each tensor
	}{
		{"no tensors", build("{}", 0), nil},
		{"padding", build("{}      ", 0), nil},
		{"a scalar", build(`{"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4), []int{1}},
		{"empty tensors between others", build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[1,1]},"z":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), []int{1, 0, 1}},
		{"an order that is not that of the bytes", build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 3), []int{2, 1}},
		{"four-bit floats", build(`{"w":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, 2), []int{4}},
		{"a name that is empty", build(`{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), []int{1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse(tt.file)
			require.NoError(t, err)
			var got []int
			for i := range f.Tensors {
				got = append(got, f.Tensors[i].Elements())
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestParseReadsMetadata(t *testing.T) {
	f, err := Parse(build(`{"__metadata__":{"format":"pt","":"<&>"}}`, 0))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"format": "pt", "": "<&>"}, f.Metadata)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(build("{}", 0))
	f.Add(build(`{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Add(build(`{"a":{"dtype":"BF16","shape":[1,3],"data_offsets":[0,6]},"b":{"dtype":"I64","shape":[],"data_offsets":[6,14]}}`, 14))
	f.Add(build(`{"w":{"dtype":"F4","shape":[4,0],"data_offsets":[0,0]}}`, 0))
	f.Add(build(`{"w":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, file []byte) {
		parsed, err := Parse(file)
		if err != nil {
			return
		}
		// What was accepted is total: every tensor reads, and writing it back is accepted again and means the same.
		data := map[string][]byte{}
		var specs []Spec
		for i := range parsed.Tensors {
			tensor := &parsed.Tensors[i]
			if tensor.DType.Float() {
				require.NoError(t, tensor.ReadAt(make([]float32, tensor.Elements()), 0))
			}
			data[tensor.Name] = tensor.Data
			specs = append(specs, Spec{Name: tensor.Name, DType: tensor.DType, Shape: tensor.Shape})
		}
		var out bytes.Buffer
		require.NoError(t, Write(&out, specs, parsed.Metadata, func(w io.Writer, s Spec) error {
			_, err := w.Write(data[s.Name])
			return err
		}))
		again, err := Parse(out.Bytes())
		require.NoError(t, err)
		require.Len(t, again.Tensors, len(parsed.Tensors))
		for i := range again.Tensors {
			require.True(t, bytes.Equal(data[again.Tensors[i].Name], again.Tensors[i].Data))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("{")
	const n = 1000
	for i := range n {
		if i > 0 {
			s.WriteString(",")
		}
		s.WriteString(`"model.layers.` + strings.Repeat("1", i%7+1) + "." + string(rune('a'+i%26)) + strings.Repeat("x", i/26) +
			`":{"dtype":"F32","shape":[0,4096],"data_offsets":[0,0]}`)
	}
	s.WriteString("}")
	file := build(s.String(), 0)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := Parse(file); err != nil {
			b.Fatal(err)
		}
	}
}
