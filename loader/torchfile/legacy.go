package torchfile

import "fmt"

// legacyMagic is the integer that files before torch 1.6 begin with.
const legacyMagic = raw("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// legacyVersion is the one version of that format.
const legacyVersion = int64(1001)

// readLegacy reads the format before the archives: pickles of a magic number, a version, what the
// machine was like, the value itself and the keys of its storages; and behind them of each storage
// the number of elements and its bytes.
func readLegacy(name string, data []byte) (any, map[string]*storage, error) {
	m := machine{name: name, data: data, storages: map[string]*storage{}}
	var values [5]any
	for i := range values {
		v, err := m.run()
		if err != nil {
			return nil, nil, err
		}
		values[i] = v
		if i == 0 && v != any(legacyMagic) {
			return nil, nil, fmt.Errorf("%w: a pickle that is none of torch's", ErrFormat)
		}
	}
	if values[1] != any(legacyVersion) {
		return nil, nil, fmt.Errorf("%w: its version is not %d", ErrFormat, legacyVersion)
	}
	system, ok := values[2].(*dict)
	keys, isList := values[4].(*list)
	if !ok || !isList || len(keys.items) != len(m.storages) {
		return nil, nil, fmt.Errorf("%w: its storages are not listed", ErrFormat)
	}
	for i, key := range system.keys {
		if key == any("little_endian") && system.values[i] != any(true) {
			return nil, nil, ErrByteOrder
		}
	}
	for _, item := range keys.items {
		key, ok := item.(string)
		s := m.storages[key]
		if !ok || s == nil || s.data != nil {
			return nil, nil, fmt.Errorf("%w: its storages are not those that it names", ErrFormat)
		}
		n := m.number(8)
		switch {
		case m.err != nil:
			return nil, nil, fmt.Errorf("%w %.*q: %w", ErrStorage, maxName, key, m.err)
		case n != uint64(s.elements):
			return nil, nil, fmt.Errorf("%w %.*q: %d elements, want %d", ErrStorage, maxName, key, n,
				s.elements)
		}
		if s.data = m.take(uint64(s.elements) * uint64(s.dtype.Bits()) / 8); m.err != nil {
			return nil, nil, fmt.Errorf("%w %.*q: the file ends in it; fetch the file again",
				ErrStorage, maxName, key)
		}
	}
	if m.at != len(data) {
		return nil, nil, fmt.Errorf("%w: %d bytes behind the last storage", ErrFormat, len(data)-m.at)
	}
	return values[3], m.storages, nil
}
