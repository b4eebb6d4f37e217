package torchfile

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// maxDirectory bounds the list of an archive's entries, in bytes. One of a tensor has about 80.
const maxDirectory = 32 << 20

// bounded reads at most so many bytes.
type bounded struct {
	r    io.ReaderAt
	left int
}

var errDirectory = fmt.Errorf("%w: a list of entries of more than %d bytes", ErrLimit, maxDirectory)

func (b *bounded) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errDirectory
	}
	return b.r.ReadAt(p, at)
}

// readArchive runs the pickle of a zip archive and finds the bytes of its storages. Checksums are
// not compared, as torch does not: that would read the whole file.
func readArchive(name string, data []byte) (any, map[string]*storage, error) {
	entries, err := entriesOf(data)
	if err != nil {
		return nil, nil, err
	}
	top := ""
	for _, entry := range sortedKeys(entries) {
		dir, ok := strings.CutSuffix(entry, "/data.pkl")
		switch {
		case !ok || strings.Contains(dir, "/"):
		case top != "":
			return nil, nil, fmt.Errorf("%w: two of data.pkl", ErrFormat)
		default:
			top = dir + "/"
		}
	}
	program, ok := entries[top+"data.pkl"]
	if !ok {
		return nil, nil, fmt.Errorf("%w: a zip archive without data.pkl", ErrFormat)
	}
	if order, ok := entries[top+"byteorder"]; ok && string(order) != "little" {
		return nil, nil, ErrByteOrder
	}
	if _, ok := entries[top+"constants.pkl"]; ok {
		return nil, nil, fmt.Errorf("it holds a program of TorchScript: %w", ErrContents)
	}
	m := machine{name: name, data: program, storages: map[string]*storage{}}
	value, err := m.run()
	if err != nil {
		return nil, nil, err
	}
	for key, s := range m.storages {
		if s.data, ok = entries[top+"data/"+key]; !ok {
			return nil, nil, fmt.Errorf("%w %.*q: the archive has no entry of it", ErrStorage, maxName, key)
		}
	}
	return value, m.storages, nil
}

// entriesOf returns the bytes of an archive's entries, which are views of data.
func entriesOf(data []byte) (map[string][]byte, error) {
	// Besides the directory the reader looks for its end, in 64 KiB at most.
	source := &bounded{bytes.NewReader(data), maxDirectory + 1<<17}
	r, err := zip.NewReader(source, int64(len(data)))
	switch {
	case errors.Is(err, ErrLimit):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w: the download or copy was cut short; fetch the file again",
			ErrFormat, err)
	}
	source.left = math.MaxInt // what each entry has in front of it is not kept
	type span struct {
		name       string
		begin, end uint64
	}
	entries, spans := make(map[string][]byte, len(r.File)), make([]span, 0, len(r.File))
	for _, f := range r.File {
		if _, twice := entries[f.Name]; twice {
			return nil, fmt.Errorf("%w: entry %.*q is there twice", ErrFormat, maxName, f.Name)
		}
		const encrypted = 1
		if f.Method != zip.Store || f.Flags&encrypted != 0 || f.CompressedSize64 != f.UncompressedSize64 {
			return nil, fmt.Errorf("entry %.*q %w", maxName, f.Name, ErrCompressed)
		}
		begin, err := f.DataOffset()
		if err != nil || begin < 0 || f.UncompressedSize64 > uint64(len(data)) ||
			uint64(begin) > uint64(len(data))-f.UncompressedSize64 {
			return nil, fmt.Errorf("%w: entry %.*q lies outside of the file", ErrFormat, maxName, f.Name)
		}
		end := uint64(begin) + f.UncompressedSize64
		entries[f.Name] = data[begin:end:end]
		spans = append(spans, span{f.Name, uint64(begin), end})
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	for i := 1; i < len(spans); i++ {
		if a, b := spans[i-1], spans[i]; b.begin < a.end {
			return nil, fmt.Errorf("%w: %.*q and %.*q", ErrOverlap, maxName, a.name, maxName, b.name)
		}
	}
	return entries, nil
}
