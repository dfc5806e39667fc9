package ml

import (
	"fmt"
	"math"
	"slices"
)

// forest is a set of decision trees whose leaves vote for targets.
type forest struct {
	roots  []link
	nodes  []branch
	leaves [][]vote
}

// link points at a node, or at a leaf.
type link struct {
	leaf bool
	at   int
}

// vote is what a leaf says of one target.
type vote struct {
	target int
	weight float64
}

// branch compares one feature.
type branch struct {
	mode    mode
	feature int
	value   float64
	members []float64 // of mode member
	missing bool      // NaN takes the true branch
	yes, no link
}

// mode is a comparison of a feature with the branch's value.
type mode uint8

// The modes by their numbers in TreeEnsemble.
const (
	lessEqual mode = iota
	less
	greaterEqual
	greater
	equal
	notEqual
	member
)

func (b *branch) test(x float64) bool {
	if b.missing && math.IsNaN(x) {
		return true
	}
	switch b.mode {
	case lessEqual:
		return x <= b.value
	case less:
		return x < b.value
	case greaterEqual:
		return x >= b.value
	case greater:
		return x > b.value
	case equal:
		return x == b.value
	case notEqual:
		return x != b.value
	}
	return slices.Contains(b.members, x)
}

// check verifies that links lead to nodes and leaves that exist and never in
// a circle, that votes are for targets, and gives the features needed.
func (f *forest) check(targets int) (features int, err error) {
	inside := func(l link) bool {
		if l.leaf {
			return l.at >= 0 && l.at < len(f.leaves)
		}
		return l.at >= 0 && l.at < len(f.nodes)
	}
	for _, r := range f.roots {
		if !inside(r) {
			return 0, fmt.Errorf("tree root %d does not exist", r.at)
		}
	}
	for i := range f.nodes {
		b := &f.nodes[i]
		if b.feature < 0 || b.mode > member {
			return 0, fmt.Errorf("node %d: feature %d with mode %d, expected a feature from 0 and a mode from 0 to %d", i, b.feature, b.mode, member)
		}
		features = max(features, b.feature+1)
		if !inside(b.yes) || !inside(b.no) {
			return 0, fmt.Errorf("node %d: its branches lead to %d and %d, which do not exist", i, b.yes.at, b.no.at)
		}
	}
	for i, votes := range f.leaves {
		for _, v := range votes {
			if v.target < 0 || v.target >= targets {
				return 0, fmt.Errorf("leaf %d: target %d, expected 0 to %d", i, v.target, targets-1)
			}
		}
	}
	return features, f.checkCircles()
}

// checkCircles walks the nodes depth first without recursion.
func (f *forest) checkCircles() error {
	const open, done = 1, 2
	state := make([]uint8, len(f.nodes))
	var stack []int
	push := func(l link) error {
		if l.leaf || state[l.at] == done {
			return nil
		}
		if state[l.at] == open {
			return fmt.Errorf("node %d is its own descendant", l.at)
		}
		stack = append(stack, l.at)
		return nil
	}
	for start := range f.nodes {
		stack = append(stack[:0], start)
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			if state[at] != 0 {
				state[at] = done
				stack = stack[:len(stack)-1]
				continue
			}
			state[at] = open
			for _, l := range []link{f.nodes[at].yes, f.nodes[at].no} {
				if err := push(l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// leaf gives the leaf of a tree that a row of features reaches.
func (f *forest) leaf(l link, row []float64) []vote {
	for !l.leaf {
		b := &f.nodes[l.at]
		if b.test(row[b.feature]) {
			l = b.yes
		} else {
			l = b.no
		}
	}
	return f.leaves[l.at]
}

// aggregations are the values of aggregate_function in the order of their
// numbers in TreeEnsemble.
var aggregations = []string{"AVERAGE", "SUM", "MIN", "MAX"}

// score gathers the votes for a row; voted says which targets had any.
func (f *forest) score(row []float64, how string, scores []float64, voted []bool) {
	clear(scores)
	clear(voted)
	for _, root := range f.roots {
		for _, v := range f.leaf(root, row) {
			switch {
			case how == "MIN" && voted[v.target]:
				scores[v.target] = min(scores[v.target], v.weight)
			case how == "MAX" && voted[v.target]:
				scores[v.target] = max(scores[v.target], v.weight)
			default:
				scores[v.target] += v.weight
			}
			voted[v.target] = true
		}
	}
	if how == "AVERAGE" {
		for i := range scores {
			scores[i] /= float64(len(f.roots))
		}
	}
}
