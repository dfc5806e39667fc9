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

// nodeID names a node within an ensemble.
type nodeID struct{ tree, node int }

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
	places := map[nodeID]link{}
	for i, name := range names {
		id := nodeID{trees[i], ids[i]}
		if _, ok := places[id]; ok {
			return nil, fmt.Errorf("tree %d has two nodes %d", id.tree, id.node)
		}
		if name == "LEAF" {
			places[id] = link{true, len(f.leaves)}
			f.leaves = append(f.leaves, nil)
			continue
		}
		m := slices.Index(modeNames, name)
		if m < 0 {
			return nil, fmt.Errorf("nodes_modes: %q is unknown", name)
		}
		places[id] = link{at: len(f.nodes)}
		f.nodes = append(f.nodes, branch{mode: mode(m), feature: features[i], value: values[i], missing: len(missing) > 0 && missing[i] != 0})
	}
	if err := f.connect(places, trees, ids, yes, no); err != nil {
		return nil, err
	}
	return f, f.addVotes(n, votes, places)
}

// connect links the nodes and finds the roots: those that no node leads to.
func (f *forest) connect(places map[nodeID]link, trees, ids, yes, no []int) error {
	child := map[nodeID]bool{}
	for i := range ids {
		l := places[nodeID{trees[i], ids[i]}]
		if l.leaf {
			continue
		}
		for _, to := range []struct {
			id  int
			set *link
		}{{yes[i], &f.nodes[l.at].yes}, {no[i], &f.nodes[l.at].no}} {
			id := nodeID{trees[i], to.id}
			target, ok := places[id]
			if !ok {
				return fmt.Errorf("node %d of tree %d leads to node %d, which does not exist", ids[i], trees[i], to.id)
			}
			child[id] = true
			*to.set = target
		}
	}
	rooted := map[int]bool{}
	for i := range ids {
		id := nodeID{trees[i], ids[i]}
		if child[id] {
			continue
		}
		if rooted[id.tree] {
			return fmt.Errorf("tree %d has more than one root", id.tree)
		}
		rooted[id.tree] = true
		f.roots = append(f.roots, places[id])
	}
	return nil
}

func (f *forest) addVotes(n *ir.Node, prefix string, places map[nodeID]link) error {
	trees, ids, targets := n.Ints(prefix+"_treeids"), n.Ints(prefix+"_nodeids"), n.Ints(prefix+"_ids")
	weights, err := floatList(n, prefix+"_weights")
	if err != nil {
		return err
	}
	if len(ids) != len(trees) || len(targets) != len(trees) || len(weights) != len(trees) {
		return fmt.Errorf("%s_treeids, _nodeids, _ids and _weights have %d, %d, %d and %d elements, expected as many each", prefix, len(trees), len(ids), len(targets), len(weights))
	}
	for i, w := range weights {
		l, ok := places[nodeID{trees[i], ids[i]}]
		if !ok {
			return fmt.Errorf("%s_nodeids: tree %d has no node %d", prefix, trees[i], ids[i])
		}
		if l.leaf { // weights of inner nodes say nothing
			f.leaves[l.at] = append(f.leaves[l.at], vote{targets[i], w})
		}
	}
	return nil
}
