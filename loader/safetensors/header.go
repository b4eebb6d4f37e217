package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxHeader is the largest header that is read, in bytes. The reference implementation has the same limit.
const MaxHeader = 100_000_000

// metadataKey is the only key of the header that is not a tensor.
const metadataKey = "__metadata__"

// parse checks a whole file and returns its tensors in the order of their bytes.
// The tensors' Data alias file.
func parse(file []byte) (tensors []Tensor, metadata map[string]string, err error) {
	if len(file) < 8 {
		return nil, nil, fmt.Errorf("%w: it has %d", ErrTooSmall, len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > MaxHeader {
		return nil, nil, fmt.Errorf("%w: it says %d bytes", ErrHeaderTooLarge, n)
	}
	if n > uint64(len(file)-8) {
		return nil, nil, fmt.Errorf("%w: header of %d bytes in a file of %d", ErrHeaderTruncated, n,
			len(file))
	}
	header, data := file[8:8+n], file[8+n:]
	h, err := decodeHeader(header)
	if err != nil {
		return nil, nil, err
	}
	if err := h.place(data); err != nil {
		return nil, nil, err
	}
	return h.tensors, h.metadata, nil
}

// header collects what the JSON says; the offsets of tensors[i] are spans[i] until place.
type header struct {
	dec      *json.Decoder
	tensors  []Tensor
	spans    [][2]uint64
	metadata map[string]string
}

// decodeHeader reads the JSON token by token, since decoding into a map would hide duplicate names.
func decodeHeader(raw []byte) (*header, error) {
	if !utf8.Valid(raw) {
		return nil, ErrHeaderEncoding
	}
	// The first byte must be '{', and Valid makes the token stream below total.
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return nil, ErrHeaderJSON
	}
	h := &header{dec: json.NewDecoder(bytes.NewReader(raw))}
	h.dec.UseNumber()
	seen := map[string]bool{}
	if _, err := h.dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeaderJSON, err)
	}
	for h.dec.More() {
		name, err := h.key()
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, tensorErr(name, ErrDuplicate, "")
		}
		seen[name] = true
		if name == metadataKey {
			err = h.readMetadata()
		} else {
			err = h.readEntry(name)
		}
		if err != nil {
			return nil, err
		}
	}
	return h, nil
}

// key reads the next token, which in a valid object at this place is a string.
func (h *header) key() (string, error) {
	t, err := h.dec.Token()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrHeaderJSON, err)
	}
	s, ok := t.(string)
	if !ok {
		return "", ErrHeaderJSON
	}
	return s, nil
}

func (h *header) readMetadata() error {
	if t, err := h.dec.Token(); err != nil || t != json.Delim('{') {
		return ErrMetadata
	}
	h.metadata = map[string]string{}
	for h.dec.More() {
		k, err := h.key()
		if err != nil {
			return err
		}
		if _, dup := h.metadata[k]; dup {
			return tensorErr(metadataKey, ErrDuplicate, "key %q", k)
		}
		t, err := h.dec.Token()
		v, ok := t.(string)
		if err != nil || !ok {
			return fmt.Errorf("%w: key %q", ErrMetadata, k)
		}
		h.metadata[k] = v
	}
	_, err := h.dec.Token()
	return err
}

// entry is one tensor's description. Pointers and slices tell absent keys from zero values.
type entry struct {
	dtype   *string
	shape   []json.Number
	offsets []json.Number
}

func (h *header) readEntry(name string) error {
	if t, err := h.dec.Token(); err != nil || t != json.Delim('{') {
		return tensorErr(name, ErrEntry, "")
	}
	var e entry
	seen := map[string]bool{}
	for h.dec.More() {
		k, err := h.key()
		if err != nil {
			return err
		}
		if seen[k] {
			return tensorErr(name, ErrDuplicate, "key %q", k)
		}
		seen[k] = true
		switch k {
		case "dtype":
			err = h.dec.Decode(&e.dtype)
			if err == nil && e.dtype == nil {
				return tensorErr(name, ErrEntry, "dtype is null")
			}
		case "shape":
			e.shape, err = h.numbers()
		case "data_offsets":
			e.offsets, err = h.numbers()
		default:
			return tensorErr(name, ErrEntry, "unknown key %q", k)
		}
		if err != nil {
			return tensorErr(name, ErrEntry, "%s: %v", k, err)
		}
	}
	if _, err := h.dec.Token(); err != nil {
		return err
	}
	if e.dtype == nil || e.shape == nil || e.offsets == nil {
		return tensorErr(name, ErrEntry, "a key is missing")
	}
	return h.addEntry(name, e)
}

// numbers reads an array of numbers; the result is never nil without an error.
func (h *header) numbers() ([]json.Number, error) {
	if t, err := h.dec.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("not an array of numbers")
	}
	out := []json.Number{}
	for h.dec.More() {
		t, err := h.dec.Token()
		v, ok := t.(json.Number)
		if err != nil || !ok {
			return nil, fmt.Errorf("not an array of numbers")
		}
		out = append(out, v)
	}
	_, err := h.dec.Token()
	return out, err
}

// addEntry checks one description by itself: dtype, shape, and that the offsets span its bytes.
func (h *header) addEntry(name string, e entry) error {
	t := Tensor{Name: name, DType: DType(*e.dtype), Shape: make([]int, len(e.shape))}
	if t.DType.Bits() == 0 {
		return tensorErr(name, ErrDType, "%q is unknown", *e.dtype)
	}
	elements := uint64(1)
	for i, s := range e.shape {
		d, err := strconv.ParseUint(s.String(), 10, 64)
		if numErr, ok := err.(*strconv.NumError); ok && numErr.Err == strconv.ErrRange {
			return tensorErr(name, ErrOverflow, "dimension %s", s)
		}
		if err != nil {
			return tensorErr(name, ErrShape, "%s", s)
		}
		hi, lo := bits.Mul64(elements, d)
		// A zero later in the shape does not excuse an overflow before it: products are taken in order.
		if d > math.MaxInt || hi != 0 || lo > math.MaxInt {
			return tensorErr(name, ErrOverflow, "shape %v", e.shape)
		}
		elements, t.Shape[i] = lo, int(d)
	}
	hi, nbits := bits.Mul64(elements, uint64(t.DType.Bits()))
	if hi != 0 || nbits/8 > math.MaxInt {
		return tensorErr(name, ErrOverflow, "shape %v of %s", e.shape, t.DType)
	}
	if nbits%8 != 0 {
		return tensorErr(name, ErrSize, "shape %v of %s is not a whole number of bytes", e.shape, t.DType)
	}
	if len(e.offsets) != 2 {
		return tensorErr(name, ErrOffsets, "%v", e.offsets)
	}
	begin, err0 := strconv.ParseUint(e.offsets[0].String(), 10, 64)
	end, err1 := strconv.ParseUint(e.offsets[1].String(), 10, 64)
	if err0 != nil || err1 != nil || begin > end {
		return tensorErr(name, ErrOffsets, "%v", e.offsets)
	}
	if end-begin != nbits/8 {
		return tensorErr(name, ErrSize, "%d bytes for shape %v of %s, want %d", end-begin, e.shape,
			t.DType, nbits/8)
	}
	t.elements = int(elements)
	h.tensors = append(h.tensors, t)
	h.spans = append(h.spans, [2]uint64{begin, end})
	return nil
}

// place checks the tensors against each other and the data, and gives each its bytes.
func (h *header) place(data []byte) error {
	order := make([]int, len(h.tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(h.spans[a][0], h.spans[b][0]), cmp.Compare(h.spans[a][1], h.spans[b][1]),
			cmp.Compare(h.tensors[a].Name, h.tensors[b].Name))
	})
	sorted := make([]Tensor, len(order))
	at := uint64(0)
	for i, j := range order {
		t, span := h.tensors[j], h.spans[j]
		switch {
		case span[1] > uint64(len(data)):
			return tensorErr(t.Name, ErrTruncated, "it ends at byte %d of %d", span[1], len(data))
		case span[0] < at:
			return tensorErr(t.Name, ErrOverlap, "it begins at byte %d, before %d", span[0], at)
		case span[0] > at:
			return tensorErr(t.Name, ErrHole, "bytes %d to %d", at, span[0])
		}
		at = span[1]
		t.Data = data[span[0]:span[1]:span[1]]
		sorted[i] = t
	}
	if at != uint64(len(data)) {
		return fmt.Errorf("%w: %d of %d", ErrTrailing, uint64(len(data))-at, len(data))
	}
	h.tensors = sorted
	return nil
}
