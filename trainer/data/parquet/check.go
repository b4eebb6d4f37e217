package parquet

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds of what a file may ask for. Published sets have pages of some MB, because writers cut them
// at one MB or a thousand rows.
const (
	maxFooter = 16 << 20
	maxHeader = 16 << 20  // of a page
	maxPage   = 256 << 20 // unpacked
	maxPages  = 1 << 30   // of the largest pages of all columns together: a row is read from all of them at once
	// maxValues is the most values of a page, and of a column with lists in a row group, since one row
	// may hold them all: 24 bytes each.
	maxValues = 1 << 22
	maxWindow = 128 << 20 // of Zstandard
)

// checkFooter refuses a file whose footer the decoder must not see.
func checkFooter(r io.ReaderAt, size int64) error {
	const magic = "PAR1"
	var tail [8]byte
	if size < int64(2*len(magic)+4) {
		return fmt.Errorf("%w: the file is cut off", ErrDamaged)
	}
	if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return err
	}
	if string(tail[4:]) != magic {
		return fmt.Errorf("%w: it does not end as a Parquet file does: cut off, or encrypted", ErrDamaged)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > maxFooter || n > size-int64(len(tail)+len(magic)) {
		return fmt.Errorf("%w: a footer of %d bytes", ErrDamaged, n)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-int64(len(tail))-n); err != nil {
		return err
	}
	if _, err := structSize(footer); err != nil {
		return fmt.Errorf("%w: footer: %w", ErrDamaged, err)
	}
	return nil
}

// checkPages refuses a row group of pages that are larger than they may be, or than they say.
func checkPages(r io.ReaderAt, size int64, group *format.RowGroup, root *pq.Column) error {
	var leaves []*pq.Column
	collect(root, &leaves)
	if len(leaves) != len(group.Columns) {
		return fmt.Errorf("%w: %d columns in a row group, and %d in the schema", ErrDamaged,
			len(group.Columns), len(leaves))
	}
	total := int64(0)
	for i := range group.Columns {
		c := chunk{file: r, meta: &group.Columns[i].MetaData, lists: leaves[i].MaxRepetitionLevel() > 0,
			rows: group.NumRows}
		err := c.check(size)
		if total += c.largest; err == nil && total > maxPages {
			err = fmt.Errorf("%w: pages of over %d bytes for one row", ErrTooLarge, maxPages)
		}
		if err != nil {
			return &columnError{leaves[i].Path(), err}
		}
	}
	return nil
}

func collect(c *pq.Column, leaves *[]*pq.Column) {
	if c.Leaf() {
		*leaves = append(*leaves, c)
	}
	for _, child := range c.Columns() {
		collect(child, leaves)
	}
}

// chunk is a column of a row group: pages one behind the other.
type chunk struct {
	file    io.ReaderAt
	meta    *format.ColumnMetaData
	lists   bool // a row may have several values
	rows    int64
	values  int64 // seen
	largest int64 // page, packed and unpacked
}

func (c *chunk) check(size int64) error {
	at, n := c.meta.DataPageOffset, c.meta.TotalCompressedSize
	if d := c.meta.DictionaryPageOffset; d != 0 {
		at = d
	}
	if at < 0 || n < 0 || at > size || n > size-at {
		return fmt.Errorf("%w: its pages lie outside the file", ErrDamaged)
	}
	for end := at + n; at < end; {
		h, length, err := header(c.file, at, end)
		if err != nil {
			return err
		}
		at += length
		if h.CompressedPageSize < 0 || int64(h.CompressedPageSize) > end-at {
			return fmt.Errorf("%w: a page is cut off", ErrDamaged)
		}
		if err := c.page(h, at); err != nil {
			return err
		}
		at += int64(h.CompressedPageSize)
	}
	return nil
}

// header reads the header of the page at an offset, and how long it is. Some writers put the least and
// the greatest text of the page in it.
func header(r io.ReaderAt, at, end int64) (h *format.PageHeader, length int64, err error) {
	for size := int64(1 << 10); ; size *= 16 {
		window := make([]byte, min(size, end-at))
		if _, err := r.ReadAt(window, at); err != nil {
			return nil, 0, err
		}
		n, err := structSize(window)
		if err != nil && int64(len(window)) < end-at && size < maxHeader {
			continue
		}
		if err == nil {
			h = new(format.PageHeader)
			protocol := pqthrift.CompactProtocol{}
			err = pqthrift.NewDecoder(protocol.NewReaderFromBytes(window[:n])).Decode(h)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w: header of a page: %w", ErrDamaged, err)
		}
		return h, int64(n), nil
	}
}

// page checks one page, whose bytes lie at an offset.
func (c *chunk) page(h *format.PageHeader, at int64) error {
	packed, plain := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	if plain < 0 || plain > maxPage {
		return fmt.Errorf("%w: a page of %d bytes, and the limit is %d", ErrTooLarge, plain, maxPage)
	}
	c.largest = max(c.largest, packed+plain)
	var values int64
	codec := c.meta.Codec
	switch {
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		values = int64(h.DataPageHeader.V.NumValues)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		v2 := &h.DataPageHeaderV2.V
		values = int64(v2.NumValues)
		levels := int64(v2.RepetitionLevelsByteLength) + int64(v2.DefinitionLevelsByteLength)
		if v2.RepetitionLevelsByteLength < 0 || v2.DefinitionLevelsByteLength < 0 || levels > packed {
			return fmt.Errorf("%w: levels longer than their page", ErrDamaged)
		}
		if at, packed = at+levels, packed-levels; v2.IsCompressed.Valid && !v2.IsCompressed.V {
			codec = format.Uncompressed
		}
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		if n := h.DictionaryPageHeader.V.NumValues; n < 0 || n > maxValues {
			return fmt.Errorf("%w: a dictionary of %d values, and the limit is %d", ErrTooLarge, n, maxValues)
		}
	}
	c.values += values
	switch {
	case values < 0 || !c.lists && c.values > c.rows:
		return fmt.Errorf("%w: more values than rows", ErrDamaged)
	case values > maxValues || c.lists && c.values > maxValues:
		return fmt.Errorf("%w: %d values, and the limit is %d", ErrTooLarge, max(values, c.values), maxValues)
	}
	if packed == 0 {
		return nil // a page of nulls
	}
	got, err := unpacked(codec, io.NewSectionReader(c.file, at, packed), plain)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if got > plain {
		return fmt.Errorf("%w: a page unpacks to more than the %d bytes that it says", ErrDamaged, plain)
	}
	return nil
}

// unpacked is how many bytes a page unpacks to; it stops behind the limit.
func unpacked(codec format.CompressionCodec, src io.Reader, limit int64) (int64, error) {
	switch codec {
	case format.Uncompressed:
		return 0, nil
	case format.Snappy: // a block that begins with its length, which its decoder keeps to
		head, err := bufio.NewReaderSize(src, 16).Peek(binary.MaxVarintLen32)
		if len(head) == 0 {
			return 0, err
		}
		n, err := snappy.DecodedLen(head)
		return int64(n), err
	case format.Gzip:
		z, err := gzip.NewReader(src)
		if err != nil {
			return 0, err
		}
		return io.Copy(io.Discard, io.LimitReader(z, limit+1))
	case format.Zstd:
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return 0, err
		}
		defer z.Close()
		return io.Copy(io.Discard, io.LimitReader(z, limit+1))
	}
	return 0, fmt.Errorf("pages packed by %v; want Snappy, gzip, Zstandard or none", codec)
}
