package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/klauspost/cpuid/v2"
)

// sha256Lanes is how many texts are hashed at a time.
const sha256Lanes = 16

// sha256State is the chaining value of so many texts: word by word, all texts side by side.
type sha256State [8][sha256Lanes]uint32

// SHA256Together returns how many texts are worth hashing side by side: 1 where they are
// hashed one after the other. It is worth most when all of them are there.
func SHA256Together() int {
	if sha256Pays() {
		return sha256Lanes
	}
	return 1
}

// sha256Pays says whether lanes are faster than one text after the other. Of a Zen 5
// core one text makes 0.64 GB/s without the instructions for SHA-256 and 2.1 with them,
// sixteen lanes make 1.9 with AVX2 and 5.0 with AVX-512.
func sha256Pays() bool {
	return active.level >= AVX512 || active.level == AVX2 && !cpuid.CPU.Supports(cpuid.SHA)
}

// SHA256Texts hashes texts side by side, in the lanes of vector registers, that come in
// parts. Sums are those of SHA-256 whatever they are computed beside.
type SHA256Texts struct {
	one   hash.Hash // where there is one lane
	state sha256State
	size  [sha256Lanes]uint64 // bytes that were added
}

// NewSHA256Texts returns a hash of one lane or of [SHA256Together].
func NewSHA256Texts(lanes int) *SHA256Texts {
	h := &SHA256Texts{}
	switch lanes {
	case 1:
		h.one = sha256.New()
	case sha256Lanes:
		for i := range lanes {
			h.start(i)
		}
	default:
		panic("kernel: SHA256Texts of other lanes")
	}
	return h
}

// start begins the text of a lane.
func (h *SHA256Texts) start(lane int) {
	for w, v := range sha256Start {
		h.state[w][lane] = v
	}
	h.size[lane] = 0
}

// Add adds to the texts of all lanes that have a part, of [sha256.BlockSize] bytes at least,
// its beginning: as many whole blocks as all of them have. It returns how many bytes those are.
// Lanes without one are between texts.
func (h *SHA256Texts) Add(parts [][]byte) int {
	var texts [sha256Lanes]*byte
	var some *byte
	n := 0
	for i, p := range parts {
		if len(p) == 0 {
			continue
		}
		if m := len(p) &^ (sha256.BlockSize - 1); some == nil || m < n {
			n, some = m, &p[0]
		}
		texts[i] = &p[0]
	}
	switch {
	case n == 0:
		return 0
	case h.one != nil:
		h.one.Write(parts[0][:n])
		return n
	}
	idle := texts
	for i := range texts {
		if h.size[i] += uint64(n); texts[i] == nil { // a lane without a text reads another's, for nothing
			texts[i] = some
		}
	}
	sha256Blocks(&h.state, &texts, n/sha256.BlockSize)
	for i := range idle {
		if idle[i] == nil {
			h.start(i)
		}
	}
	return n
}

// Sum ends the text of a lane with its last bytes, less than a block, and begins another.
func (h *SHA256Texts) Sum(lane int, rest []byte) (sum [sha256.Size]byte) {
	if h.one != nil {
		h.one.Write(rest)
		h.one.Sum(sum[:0])
		h.one.Reset()
		return sum
	}
	var buf [2 * sha256.BlockSize]byte
	n := copy(buf[:sha256.BlockSize], rest)
	buf[n] = 0x80
	end := buf[:sha256.BlockSize]
	if n+9 > sha256.BlockSize { // no room for the length, eight bytes
		end = buf[:]
	}
	binary.BigEndian.PutUint64(end[len(end)-8:], (h.size[lane]+uint64(n))*8)
	for ; len(end) > 0; end = end[sha256.BlockSize:] {
		sha256Block(&h.state, lane, end[:sha256.BlockSize])
	}
	for w := range h.state {
		binary.BigEndian.PutUint32(sum[4*w:], h.state[w][lane])
	}
	h.start(lane)
	return sum
}
