package cli

import (
	"fmt"
	"maps"
	"strings"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// symbolSizes gives the sizes of symbols that stand alone in shapes of inputs that are given.
func symbolSizes(g *ir.Graph, given []*tensor.Tensor, shapes map[string][]int) map[string]int {
	sizes := map[string]int{}
	for i, v := range g.Inputs {
		known := shapes[v.Name]
		if given != nil && given[i] != nil {
			known = given[i].Shape
		}
		for j := range min(len(known), len(v.Type.Shape)) {
			if s, ok := v.Type.Shape[j].Symbol(); ok {
				sizes[s] = known[j]
			}
		}
	}
	return sizes
}

// sizeOf is a dimension with symbols of these sizes, others 1; 1 also for what is no sum.
func sizeOf(d shape.Dim, sizes map[string]int) int {
	if n, ok := d.Int(); ok {
		return n
	}
	names, ok := d.Sum()
	if !ok {
		return 1
	}
	n := 0
	for _, s := range names {
		if size, ok := sizes[s]; ok {
			n += size
		} else {
			n++
		}
	}
	return n
}

// needShapes adds to the error of a run on random inputs which sizes were not given, and
// some with which it does run, if there are such among a few that are tried.
func needShapes(err error, eng *engine.Engine, given []*tensor.Tensor, shapes map[string][]int) error {
	if !exec.IsInputError(err) {
		return err
	}
	g := eng.Graph()
	var open []*ir.Value
	for i, v := range g.Inputs {
		_, fixed := v.Type.Shape.Ints()
		if _, ok := shapes[v.Name]; !ok && !fixed && v.Type.Shape != nil && (given == nil || given[i] == nil) {
			open = append(open, v)
		}
	}
	if len(open) == 0 {
		return err
	}
	names := make([]string, len(open))
	for i, v := range open {
		names[i] = fmt.Sprintf("%s %s", v.Name, v.Type.Shape)
	}
	const most = 6
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(open)-most))
	}
	err = fmt.Errorf("%w; no --shape is given for %s, whose sizes were taken to be 1", err, strings.Join(names, ", "))
	for _, n := range []int{8, 32, 128, 224, 512} {
		tried, flags := maps.Clone(shapes), ""
		for _, v := range open {
			said := symbolSizes(g, given, tried)
			dims, missing := make([]int, len(v.Type.Shape)), false
			for j, d := range v.Type.Shape {
				s, ok := d.Symbol()
				if _, has := said[s]; ok && !has && j > 0 {
					said[s], missing = n, true
				}
				dims[j] = sizeOf(d, said)
			}
			if tried[v.Name] = dims; missing {
				flags += " --shape " + v.Name + "=" + strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", "x"), "[]")
			}
		}
		if in, e := randomInputs(g, given, tried, 0); e == nil {
			if _, e := eng.PlanFor(in); e == nil {
				return fmt.Errorf("%w; it runs with%s", err, flags)
			}
		}
	}
	return err
}
