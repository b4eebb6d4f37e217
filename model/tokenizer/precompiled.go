package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// A precompiled is the normalizer SentencePiece compiles into its models: a
// double-array trie from character sequences to offsets of their replacement.
type precompiled struct {
	units []uint32
	texts []byte              // replacements, each ended by a zero byte
	keeps [utf8.RuneSelf]bool // ASCII characters without replacement
}

func parsePrecompiled(data json.RawMessage) (*precompiled, error) {
	var j struct {
		Map string `json:"precompiled_charsmap"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(j.Map)
	if err != nil {
		return nil, fmt.Errorf("precompiled_charsmap: %w", err)
	}
	if len(raw) < 4 {
		return nil, fmt.Errorf("precompiled_charsmap: %d bytes, want at least 4", len(raw))
	}
	size := binary.LittleEndian.Uint32(raw)
	raw = raw[4:]
	if uint64(size) > uint64(len(raw)) || size%4 != 0 || size == 0 {
		return nil, fmt.Errorf("precompiled_charsmap: a trie of %d bytes in %d", size, len(raw))
	}
	p := &precompiled{units: make([]uint32, size/4), texts: raw[size:]}
	for i := range p.units {
		p.units[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	if !utf8.Valid(p.texts) {
		return nil, fmt.Errorf("precompiled_charsmap: the replacements are not UTF-8")
	}
	for c := range p.keeps {
		_, replaced := p.lookup([]byte{byte(c)})
		p.keeps[c] = !replaced && c != '\r' // which may share a cluster with \n
	}
	return p, nil
}

// lookup returns the replacement of the shortest sequence that chunk starts
// with. It stands for the whole chunk: so does the reference.
func (p *precompiled) lookup(chunk []byte) (text []byte, ok bool) {
	at := offset(p.units[0])
	for _, c := range chunk {
		if c == 0 {
			break
		}
		at ^= uint32(c)
		if at >= uint32(len(p.units)) {
			return nil, false
		}
		unit := p.units[at]
		if unit&(1<<31|0xFF) != uint32(c) {
			return nil, false
		}
		at ^= offset(unit)
		if at >= uint32(len(p.units)) {
			return nil, false
		}
		if unit>>8&1 == 0 {
			continue
		}
		start := p.units[at] &^ (1 << 31)
		if uint64(start) > uint64(len(p.texts)) {
			return nil, false
		}
		text = p.texts[start:]
		if end := bytes.IndexByte(text, 0); end >= 0 {
			text = text[:end]
		}
		return text, utf8.Valid(text)
	}
	return nil, false
}

// offset reads the distance to a unit's children (darts-clone's layout).
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// maxCluster is the size, in bytes, from which on the reference looks at the
// runes of a grapheme cluster and no longer at the cluster.
const maxCluster = 6

func (p *precompiled) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	done := unchanged
	at := 0 // offset of what is left of src
	put := func(n int, cluster []byte) {
		from, text, replaced := cluster[:n], cluster[:n], false
		if t, ok := p.lookup(from); ok {
			text, replaced = t, true
		}
		if replaced && done == unchanged {
			done = rewritten
		}
		if replaced && len(dst) == 0 && len(text) == 0 {
			done = leadRemoved
		}
		if a != nil && replaced {
			a.unit(at, at+n, len(dst), len(dst)+len(text))
		} else if a != nil {
			a.copied(at+n, len(dst)-at)
		}
		dst = append(dst, text...)
		at += n
	}
	state := -1
	for len(src) > 0 {
		// An ASCII character before another is a cluster of its own.
		if c := src[0]; c < utf8.RuneSelf && p.keeps[c] && (len(src) == 1 || src[1] < utf8.RuneSelf) {
			if a != nil {
				a.copied(at+1, len(dst)-at)
			}
			dst = append(dst, c)
			src, state = src[1:], -1
			at++
			continue
		}
		var cluster []byte
		cluster, src, _, state = uniseg.FirstGraphemeCluster(src, state)
		if len(cluster) < maxCluster {
			if _, ok := p.lookup(cluster); ok {
				put(len(cluster), cluster)
				continue
			}
		}
		for len(cluster) > 0 {
			_, n := utf8.DecodeRune(cluster)
			put(n, cluster)
			cluster = cluster[n:]
		}
	}
	if a != nil {
		a.end(len(dst))
	}
	return dst, done
}
