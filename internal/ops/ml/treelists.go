package ml

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// TreeEnsembleRegressor and TreeEnsembleClassifier list the nodes of all trees
// with identifiers; the votes, in lists of their own, name tree and node.

// treeAttrs are the attributes of the nodes, plus those of the votes by the
// prefix that their names have, at a version of the domain.
func treeAttrs(votes string, version int) op.Attrs {
	a := op.Attrs{"post_transform": op.Default(ir.Str("NONE"))}
	for _, name := range []string{"nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true", votes + "_treeids", votes + "_nodeids", votes + "_ids"} {
		a[name] = op.Opt(ir.KindInts)
	}
	a["nodes_modes"] = op.Opt(ir.KindStrings)
	for _, name := range []string{"nodes_values", "nodes_hitrates", votes + "_weights", "base_values"} {
		a[name] = op.Opt(ir.KindFloats)
		if version >= 3 {
			a[name+"_as_tensor"] = op.Opt(ir.KindTensor)
		}
	}
	return a
}

var modeNames = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}

// places finds the nodes of an ensemble by tree and number.
type places struct {
	trees  map[int]*numbered
	tree   int // the one asked last: nodes of one tree stand together
	latest *numbered
}

// numbered are the nodes of one tree: those whose numbers count from 0 in the order of the
// lists, as they do in nearly all files, and others.
type numbered struct {
	inOrder []link
	others  map[int]link
}

func (p *places) of(tree int) *numbered {
	if p.latest == nil || p.tree != tree {
		p.tree, p.latest = tree, p.trees[tree]
	}
	return p.latest
}

// add notes where a node is, and reports false if there was one of that number.
func (p *places) add(tree, id int, l link) bool {
	t := p.of(tree)
	if t == nil {
		t = &numbered{}
		p.trees[tree], p.latest = t, t
	}
	if _, there := t.find(id); there {
		return false
	}
	if id == len(t.inOrder) {
		t.inOrder = append(t.inOrder, l)
		return true
	}
	if t.others == nil {
		t.others = map[int]link{}
	}
	t.others[id] = l
	return true
}

func (p *places) find(tree, id int) (link, bool) {
	if t := p.of(tree); t != nil {
		return t.find(id)
	}
	return link{}, false
}

func (t *numbered) find(id int) (link, bool) {
	if uint(id) < uint(len(t.inOrder)) {
		return t.inOrder[id], true
	}
	l, ok := t.others[id]
	return l, ok
}

// listForest reads a forest; votes is the prefix of the votes' attributes.
func listForest(n *ir.Node, votes string) (*forest, error) {
	trees, ids, names := n.Ints("nodes_treeids"), n.Ints("nodes_nodeids"), n.Strs("nodes_modes")
	features, yes, no, missing := n.Ints("nodes_featureids"), n.Ints("nodes_truenodeids"), n.Ints("nodes_falsenodeids"), n.Ints("nodes_missing_value_tracks_true")
	values, err := floatList(n, "nodes_values")
	if err != nil {
		return nil, err
	}
	count := len(trees)
	for _, l := range []int{len(ids), len(names), len(features), len(yes), len(no), len(values)} {
		if l != count {
			return nil, fmt.Errorf("an attribute of the nodes has %d elements, expected %d as nodes_treeids", l, count)
		}
	}
	if len(missing) > 0 && len(missing) != count {
		return nil, fmt.Errorf("nodes_missing_value_tracks_true has %d elements, expected %d", len(missing), count)
	}
	f := &forest{}
	places := &places{trees: map[int]*numbered{}}
	for i, name := range names {
		l := link{name == "LEAF", len(f.nodes)}
		if l.leaf {
			l.at = len(f.leaves)
		}
		if !places.add(trees[i], ids[i], l) {
			return nil, fmt.Errorf("tree %d has two nodes %d", trees[i], ids[i])
		}
		if l.leaf {
			f.leaves = append(f.leaves, nil)
			continue
		}
		m := slices.Index(modeNames, name)
		if m < 0 {
			return nil, fmt.Errorf("nodes_modes: %q is unknown", name)
		}
		f.nodes = append(f.nodes, branch{mode: mode(m), feature: features[i], value: values[i], missing: len(missing) > 0 && missing[i] != 0})
	}
	if err := f.connect(places, trees, ids, yes, no); err != nil {
		return nil, err
	}
	return f, f.addVotes(n, votes, places)
}

// connect links the nodes and finds the roots: those that no node leads to.
func (f *forest) connect(places *places, trees, ids, yes, no []int) error {
	child := map[bool][]bool{false: make([]bool, len(f.nodes)), true: make([]bool, len(f.leaves))}
	for i := range ids {
		l, _ := places.find(trees[i], ids[i])
		if l.leaf {
			continue
		}
		for _, to := range []struct {
			id  int
			set *link
		}{{yes[i], &f.nodes[l.at].yes}, {no[i], &f.nodes[l.at].no}} {
			target, ok := places.find(trees[i], to.id)
			if !ok {
				return fmt.Errorf("node %d of tree %d leads to node %d, which does not exist", ids[i], trees[i], to.id)
			}
			child[target.leaf][target.at] = true
			*to.set = target
		}
	}
	rooted := map[int]bool{}
	for i, tree := range trees {
		l, _ := places.find(tree, ids[i])
		if child[l.leaf][l.at] {
			continue
		}
		if rooted[tree] {
			return fmt.Errorf("tree %d has more than one root", tree)
		}
		rooted[tree] = true
		f.roots = append(f.roots, l)
	}
	return nil
}

func (f *forest) addVotes(n *ir.Node, prefix string, places *places) error {
	trees, ids, targets := n.Ints(prefix+"_treeids"), n.Ints(prefix+"_nodeids"), n.Ints(prefix+"_ids")
	weights, err := floatList(n, prefix+"_weights")
	if err != nil {
		return err
	}
	if len(ids) != len(trees) || len(targets) != len(trees) || len(weights) != len(trees) {
		return fmt.Errorf("%s_treeids, _nodeids, _ids and _weights have %d, %d, %d and %d elements, expected as many each", prefix, len(trees), len(ids), len(targets), len(weights))
	}
	for i, w := range weights {
		l, ok := places.find(trees[i], ids[i])
		if !ok {
			return fmt.Errorf("%s_nodeids: tree %d has no node %d", prefix, trees[i], ids[i])
		}
		if l.leaf { // weights of inner nodes say nothing
			f.leaves[l.at] = append(f.leaves[l.at], vote{targets[i], w})
		}
	}
	return nil
}
