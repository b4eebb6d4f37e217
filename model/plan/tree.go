package plan

import "slices"

// Tree divides sequences into parts, each computed once: what several sequences of a causal
// model begin with is one part, what follows it in each of them another, and so on to any
// depth. The last token of a sequence is in a part that no other sequence has. Trained batches
// are laid out by it, whose gradients need every sequence apart at its end and in the order
// given; a [Plan] divides a batch that is scored, where equal sequences are one.
type Tree struct {
	Parts []Part  // each behind the part before it; without sharing in the order of the sequences
	Last  []int32 // of each sequence its last part
}

// Part is a run of tokens of one or more sequences.
type Part struct {
	IDs    []int32 // of the sequence that had them first
	Before int     // the part in front of it, -1 for none
	Pos    int     // tokens in front of it
	Reach  int32   // of the sequences: those of another reach share nothing
}

// treeNode is a part before the order of the parts is known.
type treeNode struct {
	Part
	sequence int // that ends here, -1 for a part that several begin with
	then     []*treeNode
}

// NewTree divides sequences, each of one token or more. Without share every one is a part.
func NewTree(ids [][]int32, reach []int32, share bool) *Tree {
	root := &treeNode{sequence: -1}
	for i := range ids {
		rest := &treeNode{Part: Part{IDs: ids[i], Reach: reach[i]}, sequence: i}
		at := root
		for share {
			next := at.follow(rest)
			if next == nil {
				break
			}
			at = next
		}
		at.then = append(at.then, rest)
	}
	t := &Tree{Last: make([]int32, len(ids))}
	t.lay(root, -1)
	return t
}

// follow returns the part behind a node that a sequence begins with, which is divided from what
// the sequence does not have of it, and takes it off the sequence; nil where that is too short
// to be worth it.
func (n *treeNode) follow(rest *treeNode) *treeNode {
	for i, next := range n.then {
		shared := min(commonPrefix(next.IDs, rest.IDs), int32(len(rest.IDs)-1))
		if next.sequence >= 0 {
			shared = min(shared, int32(len(next.IDs)-1))
		}
		if shared < minShare || next.Reach != rest.Reach {
			continue
		}
		if int(shared) < len(next.IDs) {
			first := &treeNode{Part: next.Part, sequence: -1, then: []*treeNode{next}}
			first.IDs = next.IDs[:shared]
			next.cut(shared)
			n.then[i] = first
		}
		rest.cut(shared)
		return n.then[i]
	}
	return nil
}

// cut takes tokens off the front.
func (n *treeNode) cut(tokens int32) { n.IDs, n.Pos = n.IDs[tokens:], n.Pos+int(tokens) }

// lay lists what is behind a node.
func (t *Tree) lay(n *treeNode, before int) {
	for _, next := range n.then {
		next.Before = before
		t.Parts = append(t.Parts, next.Part)
		at := len(t.Parts) - 1
		if next.sequence >= 0 {
			t.Last[next.sequence] = int32(at)
		}
		t.lay(next, at)
	}
}

// Chain returns the parts of a sequence in their order, appended to room.
func (t *Tree) Chain(room []int, sequence int) []int {
	n := len(room)
	for p := int(t.Last[sequence]); p >= 0; p = t.Parts[p].Before {
		room = append(room, p)
	}
	slices.Reverse(room[n:])
	return room
}

// Own returns how many tokens of a sequence a [Tree] adds when the one before it has such ids.
func Own(ids, before []int32) int {
	if n := min(commonPrefix(ids, before), int32(len(ids)-1), int32(len(before)-1)); n >= minShare {
		return len(ids) - int(n)
	}
	return len(ids)
}
