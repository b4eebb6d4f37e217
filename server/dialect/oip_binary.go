package dialect

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/warmserve/warmserve/api"
)

// The binary tensor data extension of the Open Inference Protocol: JSON, and
// behind it the tensors that have a binary_data_size, in their order. Texts are
// each a length in four bytes and their own; all numbers are little-endian.

// readInfer decodes a request whose first head bytes are JSON, or all with 0.
func readInfer(body []byte, head int) (*inferRequest, error) {
	if head > len(body) {
		return nil, api.Errorf(api.CodeInvalidValue, "Inference-Header-Content-Length",
			"%d, and the body has %d bytes", head, len(body))
	}
	rest := []byte{}
	if head > 0 {
		body, rest = body[:head:head], body[head:]
	}
	r := new(inferRequest)
	if err := api.DecodeLenient(body, r); err != nil {
		return nil, err
	}
	for i := range r.Inputs {
		t := &r.Inputs[i]
		if t.Parameters.BinarySize == nil {
			continue
		}
		n, param := *t.Parameters.BinarySize, fmt.Sprintf("inputs[%d].parameters.binary_data_size", i)
		switch {
		case head == 0:
			return nil, api.Errorf(api.CodeInvalidValue, param,
				"binary data needs the header Inference-Header-Content-Length: how many bytes of the body are JSON")
		case given(t.Data):
			return nil, api.Errorf(api.CodeConflictingFields, param, "data and binary_data_size together")
		case n < 0 || n > len(rest):
			return nil, api.Errorf(api.CodeInvalidValue, param,
				"%d, and %d bytes are left behind the JSON", n, len(rest))
		}
		t.raw, rest = rest[:n:n], rest[n:]
	}
	if len(rest) > 0 {
		return nil, api.Errorf(api.CodeInvalidValue, "inputs",
			"%d bytes behind the tensors belong to none", len(rest))
	}
	return r, nil
}

// rawStrings reads n texts.
func (t *inferInput) rawStrings(n int) ([]string, error) {
	if n > maxRows {
		return nil, tooManyRows(t.Name)
	}
	wrong := func(i int, why string) error {
		return api.Errorf(api.CodeInvalidValue, t.Name, "element %d: %s", i, why)
	}
	rest, out := t.raw, []string(nil)
	for i := range n {
		if len(rest) < 4 {
			return nil, wrong(i, "the binary data ends before it")
		}
		size := binary.LittleEndian.Uint32(rest)
		if rest = rest[4:]; int64(size) > int64(len(rest)) {
			return nil, wrong(i, "it is longer than the binary data")
		}
		if !utf8.Valid(rest[:size]) {
			return nil, wrong(i, "it is not UTF-8")
		}
		out, rest = append(out, string(rest[:size])), rest[size:]
	}
	if len(rest) > 0 {
		return nil, api.Errorf(api.CodeInvalidValue, t.Name, "more binary data than the shape %v has",
			t.Shape)
	}
	return out, nil
}

// rawInts reads n numbers, each of which fits in 32 bits.
func (t *inferInput) rawInts(n int) ([]int32, error) {
	width := 8
	if t.Datatype == "INT32" {
		width = 4
	}
	if len(t.raw) != n*width {
		return nil, api.Errorf(api.CodeInvalidValue, t.Name,
			"%d bytes of binary data for the shape %v of %s, want %d", len(t.raw), t.Shape,
			t.Datatype, n*width)
	}
	out := make([]int32, n)
	for i := range out {
		if width == 4 {
			out[i] = int32(binary.LittleEndian.Uint32(t.raw[4*i:]))
			continue
		}
		v := int64(binary.LittleEndian.Uint64(t.raw[8*i:]))
		if int64(int32(v)) != v {
			return nil, api.Errorf(api.CodeInvalidValue, t.Name,
				"element %d: %d is no token and no length", i, v)
		}
		out[i] = int32(v)
	}
	return out, nil
}

// encode returns the reply as JSON or, where a tensor is asked for in binary
// form, as JSON with those behind it.
func (r inferReply) encode(asBinary func(i int) bool) (any, error) {
	var raw []byte
	for i := range r.Outputs {
		if !asBinary(i) {
			continue
		}
		o := &r.Outputs[i]
		for _, v := range o.Data {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		o.Parameters, o.Data = &inferBinarySize{4 * len(o.Data)}, nil
	}
	if raw == nil {
		return r, nil
	}
	head, err := api.Encode(r)
	if err != nil {
		return nil, err
	}
	return &Encoded{Body: append(head, raw...), Media: octets, Head: len(head)}, nil
}
