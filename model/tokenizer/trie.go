package tokenizer

import "errors"

// A trie is a set of byte strings, each with a value. Its edges lie in one
// open-addressed table, so that a step is one probe whatever the fan-out.
type trie struct {
	keys   []uint32 // node<<8 | byte, plus 1; 0 is free
	nexts  []uint32
	values []int32 // by node; -1 where no string ends
	roots  [256]uint32
	edges  int
}

// maxTrieNodes is what keys leaves room for.
const maxTrieNodes = 1<<24 - 1

var errTrieFull = errors.New("the tokens are too many or too long to index")

func newTrie() *trie {
	return &trie{keys: make([]uint32, 64), nexts: make([]uint32, 64), values: []int32{-1}}
}

// insert adds s, unless it is there already.
func (t *trie) insert(s string, value int32) error {
	node := uint32(0)
	for i := range len(s) {
		next := t.step(node, s[i])
		if next == 0 {
			if len(t.values) >= maxTrieNodes {
				return errTrieFull
			}
			next = uint32(len(t.values))
			t.values = append(t.values, -1)
			t.link(node, s[i], next)
		}
		node = next
	}
	if t.values[node] < 0 {
		t.values[node] = value
	}
	return nil
}

// step returns the node that c leads to, 0 where there is none.
func (t *trie) step(node uint32, c byte) uint32 {
	if node == 0 {
		return t.roots[c]
	}
	key := node<<8 | uint32(c)
	key++
	mask := uint32(len(t.keys) - 1)
	for i := hash32(key) & mask; ; i = (i + 1) & mask {
		switch t.keys[i] {
		case key:
			return t.nexts[i]
		case 0:
			return 0
		}
	}
}

func (t *trie) link(node uint32, c byte, next uint32) {
	if node == 0 {
		t.roots[c] = next
		return
	}
	if 2*t.edges >= len(t.keys) {
		keys, nexts := t.keys, t.nexts
		t.keys, t.nexts = make([]uint32, 2*len(keys)), make([]uint32, 2*len(keys))
		for i, key := range keys {
			if key != 0 {
				t.put(key, nexts[i])
			}
		}
	}
	t.put(node<<8|uint32(c)+1, next)
	t.edges++
}

func (t *trie) put(key, next uint32) {
	mask := uint32(len(t.keys) - 1)
	i := hash32(key) & mask
	for t.keys[i] != 0 {
		i = (i + 1) & mask
	}
	t.keys[i], t.nexts[i] = key, next
}

// longest returns the longest string of the set that text starts with.
func (t *trie) longest(node uint32, text []byte) (length int, value int32) {
	value = -1
	for i, c := range text {
		if node = t.step(node, c); node == 0 {
			break
		}
		if v := t.values[node]; v >= 0 {
			length, value = i+1, v
		}
	}
	return length, value
}

// hash32 spreads a key over 32 bits (the finalizer of MurmurHash3).
func hash32(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85EBCA6B
	x ^= x >> 13
	x *= 0xC2B2AE35
	return x ^ x>>16
}
