package tokenizer

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
)

const (
	maxCachedBytes = 48 // longest word the cache holds
	maxCachedIDs   = 18 // most ids of a word the cache holds
	cacheSlots     = 1 << 15
)

// A wordCache remembers the ids of words. It is bounded (4 MiB), never
// allocates after it is made, and is shared by all goroutines without locks:
// each slot is guarded by its head, a sequence lock whose reader gives up where
// a writer was at work. Keys are compared in full, so that what a word becomes
// never depends on what else was encoded.
type wordCache struct {
	seed  maphash.Seed
	slots []cacheSlot
}

// A cacheSlot is two cache lines. head holds, from its low bits: the number of
// ids (8), the length of the key in bytes (8), the writer's lock (1) and the
// count of writes (47).
type cacheSlot struct {
	head atomic.Uint64
	key  [maxCachedBytes / 8]atomic.Uint64
	ids  [maxCachedIDs / 2]atomic.Uint64 // two ids a word
}

const (
	cacheLocked = 1 << 16
	cacheWrite  = 1 << 17
)

func newWordCache() *wordCache {
	return &wordCache{seed: maphash.MakeSeed(), slots: make([]cacheSlot, cacheSlots)}
}

// slot returns the only slot that may hold word.
func (c *wordCache) slot(word []byte) *cacheSlot {
	return &c.slots[maphash.Bytes(c.seed, word)%cacheSlots]
}

// lookup appends the ids of word to dst when the slot holds them.
func (s *cacheSlot) lookup(dst []int32, word []byte) ([]int32, bool) {
	head := s.head.Load()
	if head&cacheLocked != 0 || int(head>>8&0xFF) != len(word) {
		return dst, false
	}
	i := 0
	for ; len(word) >= 8; i, word = i+1, word[8:] {
		if s.key[i].Load() != binary.LittleEndian.Uint64(word) {
			return dst, false
		}
	}
	if len(word) > 0 && s.key[i].Load() != tail(word) {
		return dst, false
	}
	n, from := int(head&0xFF), len(dst)
	for i := 0; i < n; i += 2 {
		two := s.ids[i/2].Load()
		dst = append(dst, int32(two))
		if i+1 < n {
			dst = append(dst, int32(two>>32))
		}
	}
	if s.head.Load() != head {
		return dst[:from], false // a writer came in between
	}
	return dst, true
}

// store replaces what the slot holds, unless the word or its ids are too long
// or another goroutine is writing.
func (s *cacheSlot) store(word []byte, ids []int32) {
	if len(ids) > maxCachedIDs || len(word) == 0 {
		return
	}
	head := s.head.Load()
	if head&cacheLocked != 0 || !s.head.CompareAndSwap(head, head|cacheLocked) {
		return
	}
	next := (head&^(cacheWrite-1) + cacheWrite) | uint64(len(word))<<8 | uint64(len(ids))
	i := 0
	for ; len(word) >= 8; i, word = i+1, word[8:] {
		s.key[i].Store(binary.LittleEndian.Uint64(word))
	}
	if len(word) > 0 {
		s.key[i].Store(tail(word))
	}
	for i := 0; i < len(ids); i += 2 {
		two := uint64(uint32(ids[i]))
		if i+1 < len(ids) {
			two |= uint64(uint32(ids[i+1])) << 32
		}
		s.ids[i/2].Store(two)
	}
	s.head.Store(next)
}

// tail packs fewer than eight bytes into one word.
func tail(b []byte) uint64 {
	var w uint64
	for i, c := range b {
		w |= uint64(c) << (8 * i)
	}
	return w
}
