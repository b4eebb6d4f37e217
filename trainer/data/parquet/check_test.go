package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// thriftList is a structure of one field, a list of n elements of a type, of which only the bytes
// given follow.
func thriftList(n uint64, kind byte, elements ...byte) []byte {
	b := binary.AppendUvarint([]byte{1<<4 | typeList, 0xf0 | kind}, n)
	return append(b, elements...)
}

func TestStructuresThatClaimTooMuchAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":                    {nil, "cut off"},
		"a list of a thousand mil.":  {thriftList(1<<30, typeStruct, 0, 0, 0), "elements"},
		"a list longer than it is":   {thriftList(1<<10, typeStruct, 0, 0, 0), "cut off"},
		"lists in lists":             {append([]byte{1<<4 | typeList}, bytes.Repeat([]byte{1<<4 | typeList}, 100)...), "nested"},
		"structures in structures":   {bytes.Repeat([]byte{1<<4 | typeStruct}, 100), "nested"},
		"a text longer than it is":   {append([]byte{1<<4 | typeBinary}, binary.AppendUvarint(nil, 1<<40)...), "more bytes"},
		"a length beyond 64 bits":    {append([]byte{1<<4 | typeBinary}, bytes.Repeat([]byte{0xff}, 11)...), "too large"},
		"a map of a thousand mil.":   {append(binary.AppendUvarint([]byte{1<<4 | typeMap}, 1<<30), typeBinary<<4|typeBinary), "elements"},
		"an unknown type":            {[]byte{1<<4 | 13}, "type 13"},
		"many lists of half of that": {append(thriftList(maxItems/2, typeTrue, make([]byte, maxItems/2)...), thriftList(maxItems, typeTrue)...), "elements"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := structSize(c.b)
			assert.ErrorIs(t, err, errThrift)
			assert.ErrorContains(t, err, c.want)
		})
	}
	n, err := structSize(append(thriftList(2, typeFalse, 1, 2), 2<<4|typeTrue, typeStop, 0xff))
	assert.NoError(t, err)
	assert.Equal(t, 7, n)
}

// TestPagesThatUnpackWithoutEndAreMeasuredOnly: a thousand times what they say, and no more is read.
func TestPagesThatUnpackWithoutEndAreMeasuredOnly(t *testing.T) {
	const limit = 1 << 10
	zeros := make([]byte, 1<<20)
	var packed bytes.Buffer
	gz := gzip.NewWriter(&packed)
	_, err := gz.Write(zeros)
	require.NoError(t, err)
	require.NoError(t, gz.Close())
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for codec, b := range map[format.CompressionCodec][]byte{
		format.Gzip: packed.Bytes(), format.Zstd: z.EncodeAll(zeros, nil),
	} {
		n, err := unpacked(codec, bytes.NewReader(b), limit)
		require.NoError(t, err, codec)
		assert.EqualValues(t, limit+1, n, codec)
		_, err = unpacked(codec, bytes.NewReader(b[:len(b)/2]), 1<<30)
		assert.Error(t, err, codec)
	}
	n, err := unpacked(format.Snappy, bytes.NewReader(snappy.Encode(nil, zeros)), limit)
	require.NoError(t, err)
	assert.EqualValues(t, len(zeros), n)
	_, err = unpacked(format.Snappy, bytes.NewReader(bytes.Repeat([]byte{0xff}, 10)), limit)
	assert.Error(t, err)
}

// page is a chunk of one page of a text column, with a header of the test's own.
func page(t testing.TB, h format.PageHeader, lists bool, rows int64) error {
	c := chunk{file: strings.NewReader(strings.Repeat("\x00", 100)), meta: &format.ColumnMetaData{}, lists: lists, rows: rows}
	return c.page(&h, 0)
}

func TestPagesThatAskForTooMuchAreRefused(t *testing.T) {
	data := func(size, values int32) (h format.PageHeader) {
		h.Type, h.UncompressedPageSize, h.CompressedPageSize = format.DataPage, size, min(size, 100)
		h.DataPageHeader.Valid, h.DataPageHeader.V.NumValues = true, values
		return h
	}
	require.NoError(t, page(t, data(100, 5), false, 5))
	require.NoError(t, page(t, data(100, 50), true, 5))
	assert.ErrorIs(t, page(t, data(maxPage+1, 5), false, 5), ErrTooLarge)
	assert.ErrorIs(t, page(t, data(-1, 5), false, 5), ErrTooLarge)
	assert.ErrorIs(t, page(t, data(100, 6), false, 5), ErrDamaged, "more values than rows")
	assert.ErrorIs(t, page(t, data(100, -1), true, 5), ErrDamaged)
	assert.ErrorIs(t, page(t, data(100, maxValues+1), true, 5), ErrTooLarge)
	assert.ErrorIs(t, page(t, data(100, maxValues+1), false, maxValues+1), ErrTooLarge)

	var dict format.PageHeader
	dict.Type, dict.DictionaryPageHeader.Valid, dict.DictionaryPageHeader.V.NumValues = format.DictionaryPage, true, maxValues+1
	assert.ErrorIs(t, page(t, dict, false, 5), ErrTooLarge)

	var v2 format.PageHeader
	v2.Type, v2.DataPageHeaderV2.Valid, v2.CompressedPageSize, v2.UncompressedPageSize = format.DataPageV2, true, 10, 10
	require.NoError(t, page(t, v2, false, 5))
	v2.DataPageHeaderV2.V.DefinitionLevelsByteLength = 11
	assert.ErrorIs(t, page(t, v2, false, 5), ErrDamaged)
	v2.DataPageHeaderV2.V.DefinitionLevelsByteLength, v2.DataPageHeaderV2.V.RepetitionLevelsByteLength = 11, -2
	assert.ErrorIs(t, page(t, v2, false, 5), ErrDamaged)
}

// TestAFooterOfAFewBytesTakesNoMemory: the decoder alone would ask for half a terabyte.
func TestAFooterOfAFewBytesTakesNoMemory(t *testing.T) {
	footer := thriftList(1<<30, typeStruct)
	file := append([]byte("PAR1"), footer...)
	file = append(binary.LittleEndian.AppendUint32(file, uint32(len(footer))), "PAR1"...)
	_, err := Open(bytes.NewReader(file), int64(len(file)), 1<<20)
	assert.ErrorIs(t, err, ErrDamaged)
	assert.ErrorContains(t, err, "elements")

	file = append([]byte("PAR1"), 0xff, 0xff, 0xff, 0xff)
	file = append(file, "PAR1"...)
	_, err = Open(bytes.NewReader(file), int64(len(file)), 1<<20)
	assert.ErrorContains(t, err, "a footer of 4294967295 bytes")
}

// TestManyTextsOfOneDictionaryAreNotWrittenOut: a list of many texts that a dictionary holds once is not written out.
func TestManyTextsOfOneDictionaryAreNotWrittenOut(t *testing.T) {
	type row struct {
		Texts []string `parquet:"texts,dict,list"`
	}
	long := strings.Repeat("x", 1<<16)
	r := row{Texts: make([]string, 1<<10)}
	for i := range r.Texts {
		r.Texts[i] = long
	}
	var b bytes.Buffer
	require.NoError(t, pq.Write(&b, []row{r, {Texts: []string{"y"}}}))
	require.Less(t, b.Len(), 1<<19)
	f, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()), 1<<20)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Next()
	assert.ErrorIs(t, err, ErrTooLarge)
	next, err := f.Next()
	require.NoError(t, err)
	assert.JSONEq(t, `{"texts":["y"]}`, string(next))
	_, err = f.Next()
	assert.Equal(t, io.EOF, err)
}

// TestPagesOfManyColumnsHaveOneBound: each is within its own, and all are held for one row.
func TestPagesOfManyColumnsHaveOneBound(t *testing.T) {
	type row struct{ A, B, C, D, E string }
	var b bytes.Buffer
	require.NoError(t, pq.Write(&b, []row{{"a", "b", "c", "d", "e"}}))
	f, err := pq.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	check := func(plain int32) error {
		var h format.PageHeader
		h.Type, h.UncompressedPageSize, h.CompressedPageSize = format.DataPage, plain, 1
		h.DataPageHeader.Valid, h.DataPageHeader.V.NumValues = true, 1
		page, err := pqthrift.Marshal(new(pqthrift.CompactProtocol), &h)
		require.NoError(t, err)
		page = append(page, 'x')
		var group format.RowGroup
		group.NumRows = 1
		for range 5 {
			var c format.ColumnChunk
			c.MetaData.Codec, c.MetaData.TotalCompressedSize = format.Uncompressed, int64(len(page))
			group.Columns = append(group.Columns, c)
		}
		return checkPages(bytes.NewReader(page), int64(len(page)), &group, f.Root())
	}
	assert.NoError(t, check(maxPages/5-2))
	err = check(maxPage - 1)
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "column E", "the fifth is one too many")
}
