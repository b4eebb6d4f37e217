package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/warmserve/warmserve/loader/disk"
)

// Spec describes a tensor to be written.
type Spec struct {
	Name  string
	DType DType
	Shape []int
}

// Bytes returns the size of the tensor's data, or an error for a type or shape that no file can hold.
func (s Spec) Bytes() (int64, error) {
	width := s.DType.Bits()
	if width == 0 {
		return 0, tensorErr(s.Name, ErrDType, "%q is unknown", string(s.DType))
	}
	n := uint64(width)
	for _, d := range s.Shape {
		if d < 0 {
			return 0, tensorErr(s.Name, ErrShape, "%v", s.Shape)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, tensorErr(s.Name, ErrOverflow, "%v", s.Shape)
		}
		n = lo
	}
	if n%8 != 0 {
		return 0, tensorErr(s.Name, ErrSize, "shape %v of %s is not a whole number of bytes", s.Shape,
			s.DType)
	}
	return int64(n / 8), nil
}

// Fill writes the little-endian data of one tensor to w, all of it and nothing else.
type Fill func(w io.Writer, s Spec) error

// Write writes a file to w: tensors with wider elements first, then by name, so that every tensor
// is aligned, whatever the order of specs. Equal arguments give equal bytes. fill is called once
// for each tensor, in that order, so that a file larger than memory can be written.
func Write(w io.Writer, specs []Spec, metadata map[string]string, fill Fill) error {
	specs = slices.Clone(specs)
	slices.SortStableFunc(specs, func(a, b Spec) int {
		return cmp.Or(cmp.Compare(b.DType.Bits(), a.DType.Bits()), cmp.Compare(a.Name, b.Name))
	})
	header, sizes, err := encodeHeader(specs, metadata)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("safetensors: write the header: %w", err)
	}
	for i, s := range specs {
		c := &counter{w: w, left: sizes[i]}
		if err := fill(c, s); err != nil {
			return fmt.Errorf("safetensors: write tensor %q: %w", s.Name, err)
		}
		if c.left != 0 {
			return fmt.Errorf("safetensors: %w",
				tensorErr(s.Name, ErrFill, "%d of %d bytes are missing", c.left, sizes[i]))
		}
	}
	return nil
}

// counter passes on at most left bytes.
type counter struct {
	w    io.Writer
	left int64
}

func (c *counter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		return 0, fmt.Errorf("%w: %d too many", ErrFill, int64(len(p))-c.left)
	}
	n, err := c.w.Write(p)
	c.left -= int64(n)
	return n, err
}

// encodeHeader returns the length, the JSON and its padding to a multiple of eight bytes.
func encodeHeader(specs []Spec, metadata map[string]string) (header []byte, sizes []int64, err error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if len(metadata) > 0 {
		b.WriteString(`"` + metadataKey + `":`)
		writeJSON(&b, metadata)
	}
	at := int64(0)
	seen := map[string]bool{metadataKey: true}
	for _, s := range specs {
		if seen[s.Name] {
			return nil, nil, tensorErr(s.Name, ErrDuplicate, "")
		}
		seen[s.Name] = true
		if !utf8.ValidString(s.Name) {
			return nil, nil, tensorErr(s.Name, ErrHeaderEncoding, "")
		}
		n, err := s.Bytes()
		if err != nil {
			return nil, nil, err
		}
		if at > math.MaxInt64-n {
			return nil, nil, tensorErr(s.Name, ErrOverflow, "the file")
		}
		if b.Len() > 9 {
			b.WriteByte(',')
		}
		writeJSON(&b, s.Name)
		b.WriteByte(':')
		writeJSON(&b, struct {
			DType   DType    `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{s.DType, append([]int{}, s.Shape...), [2]int64{at, at + n}})
		at += n
		sizes = append(sizes, n)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > MaxHeader {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrHeaderTooLarge, b.Len()-8)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), sizes, nil
}

// writeJSON writes strings and numbers without the escapes for HTML, and maps in the order of their keys.
func writeJSON(b *bytes.Buffer, v any) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)       // They and a buffer cannot fail.
	b.Truncate(b.Len() - 1) // Encode ends with a newline.
}

// WriteFile writes a file as [Write] does, atomically: path names the old file or the whole new one at every
// moment, also after a crash.
func WriteFile(path string, specs []Spec, metadata map[string]string, fill Fill) error {
	return disk.Replace(path, 0o644, func(f *os.File) error {
		w := bufio.NewWriterSize(f, 1<<20)
		if err := Write(w, specs, metadata, fill); err != nil {
			return err
		}
		return w.Flush()
	})
}
