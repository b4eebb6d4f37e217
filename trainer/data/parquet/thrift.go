package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxItems is the most elements of all lists of a footer together. The decoder takes the memory of a
	// list, some 500 bytes an element, before it reads the first one; sets have some thousand.
	maxItems = 1 << 17
	// maxDepth is how deep structures may lie in each other; Parquet's own go to seven.
	maxDepth = 32
)

// errThrift is returned for bytes that are no structure of the Thrift compact protocol.
var errThrift = errors.New("not a Thrift structure")

// thrift walks a structure in the compact protocol without building it.
type thrift struct {
	b     []byte
	at    int
	items int
}

// structSize is how many bytes the structure takes that b begins with. Nothing in it claims more
// bytes than there are, or more elements than maxItems.
func structSize(b []byte) (int, error) {
	t := thrift{b: b}
	err := t.structure(0)
	return t.at, err
}

// Types of the compact protocol.
const (
	typeStop   = 0
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
)

func (t *thrift) structure(depth int) error {
	for {
		head, err := t.byte()
		if err != nil || head&0x0f == typeStop {
			return err
		}
		if head>>4 == 0 { // the field's number follows
			if _, err := t.varint(); err != nil {
				return err
			}
		}
		if kind := head & 0x0f; kind != typeTrue && kind != typeFalse { // a field's truth is its type
			if err := t.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

func (t *thrift) value(kind byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: nested over %d deep", errThrift, maxDepth)
	}
	switch kind {
	case typeTrue, typeFalse, typeByte: // in a list a truth takes a byte
		return t.skip(1)
	case 4, 5, 6: // integers
		_, err := t.varint()
		return err
	case typeDouble:
		return t.skip(8)
	case typeBinary:
		n, err := t.varint()
		if err != nil {
			return err
		}
		return t.skip(n)
	case typeList, typeSet:
		head, err := t.byte()
		if err != nil {
			return err
		}
		n := uint64(head >> 4)
		if n == 15 {
			if n, err = t.varint(); err != nil {
				return err
			}
		}
		return t.elements(n, depth, head&0x0f)
	case typeMap:
		n, err := t.varint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := t.byte()
		if err != nil {
			return err
		}
		return t.elements(n, depth, kinds>>4, kinds&0x0f)
	case typeStruct:
		return t.structure(depth + 1)
	}
	return fmt.Errorf("%w: type %d", errThrift, kind)
}

// elements walks n times the kinds of an element, which are two in a map.
func (t *thrift) elements(n uint64, depth int, kinds ...byte) error {
	if n > uint64(maxItems-t.items) {
		return fmt.Errorf("%w: lists of over %d elements", errThrift, maxItems)
	}
	t.items += int(n)
	for range n {
		for _, k := range kinds {
			if err := t.value(k, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *thrift) byte() (byte, error) {
	if t.at >= len(t.b) {
		return 0, fmt.Errorf("%w: it is cut off", errThrift)
	}
	t.at++
	return t.b[t.at-1], nil
}

func (t *thrift) varint() (uint64, error) {
	v, n := binary.Uvarint(t.b[t.at:])
	if n <= 0 {
		return 0, fmt.Errorf("%w: a number is cut off or too large", errThrift)
	}
	t.at += n
	return v, nil
}

func (t *thrift) skip(n uint64) error {
	if n > uint64(len(t.b)-t.at) {
		return fmt.Errorf("%w: it claims more bytes than there are", errThrift)
	}
	t.at += int(n)
	return nil
}
