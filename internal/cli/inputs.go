package cli

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/tensor"
)

// inputReader reads the values of --input flags for a model.
type inputReader struct {
	model  string // path of the model, beside which a recipe may lie
	graph  *ir.Graph
	recipe image.Spec // from flags
}

// read gives the inputs in the graph's order. A flag is NAME=FILE, or FILE
// alone where the model has one input or the file is an npz with names.
func (r *inputReader) read(flags []string) ([]*tensor.Tensor, error) {
	named := map[string]*tensor.Tensor{}
	for _, f := range flags {
		if err := r.readFlag(f, named); err != nil {
			return nil, err
		}
	}
	in := make([]*tensor.Tensor, len(r.graph.Inputs))
	for i, v := range r.graph.Inputs {
		in[i] = named[v.Name]
		delete(named, v.Name)
	}
	for name := range named {
		return nil, misusef("--input %s: the model has no such input; its inputs are %s", name, r.inputNames())
	}
	return in, nil
}

func (r *inputReader) inputNames() string { return samples.InputNames(r.graph) }

func (r *inputReader) readFlag(flag string, named map[string]*tensor.Tensor) error {
	name, file, ok := strings.Cut(flag, "=")
	if !ok {
		name, file = "", flag
	}
	if strings.EqualFold(filepath.Ext(file), ".npz") {
		return r.readArchive(name, file, named)
	}
	v, err := r.find(name)
	if err != nil {
		return err
	}
	t, err := r.readFile(v, file)
	if err != nil {
		return fmt.Errorf("input %q: %w", v.Name, err)
	}
	named[v.Name] = t
	return nil
}

// find gives the input called name, or the only one.
func (r *inputReader) find(name string) (*ir.Value, error) {
	if name == "" && len(r.graph.Inputs) == 1 {
		return r.graph.Inputs[0], nil
	}
	for _, v := range r.graph.Inputs {
		if v.Name == name {
			return v, nil
		}
	}
	if name == "" {
		return nil, misusef("--input needs NAME=FILE: the model has the inputs %s", r.inputNames())
	}
	return nil, misusef("--input %s: the model has no such input; its inputs are %s", name, r.inputNames())
}

// readArchive takes from an npz the array called name, or all arrays whose
// names (with or without in_ or in: in front) are inputs of the model.
func (r *inputReader) readArchive(name, file string, named map[string]*tensor.Tensor) error {
	z, err := npy.OpenArchive(file)
	if err != nil {
		return err
	}
	defer z.Close()
	found := 0
	for _, v := range r.graph.Inputs {
		key, ok := samples.ArrayOf(z, v.Name)
		if name != "" && v.Name != name || !ok {
			continue
		}
		if named[v.Name], err = z.Read(key); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("%s: no array is called like an input (%s); found %v", file, r.inputNames(), z.Names())
	}
	return nil
}

func (r *inputReader) readFile(v *ir.Value, file string) (*tensor.Tensor, error) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".npy":
		return npy.ReadFile(file)
	case ".pb":
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return onnx.ParseValue(b, v.Type)
	}
	return r.readImage(v, file)
}

func (r *inputReader) readImage(v *ir.Value, file string) (*tensor.Tensor, error) {
	pixels, err := image.DecodeFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w (expected .npy, .npz, .pb or a picture)", err)
	}
	recipe, err := image.NewRecipe(r.model, r.recipe)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return recipe.Tensor(pixels, samples.PictureInput(v))
}

// parseShapes reads NAME=1x3x224x224 flags.
func parseShapes(flags []string) (map[string][]int, error) {
	shapes := map[string][]int{}
	for _, f := range flags {
		name, dims, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, misusef("--shape %s: expected NAME=1x3x224x224", f)
		}
		shape := []int{}
		if dims != "" {
			for s := range strings.SplitSeq(dims, "x") {
				n, err := strconv.Atoi(s)
				if err != nil || n < 0 {
					return nil, misusef("--shape %s: %q is no size", f, s)
				}
				shape = append(shape, n)
			}
		}
		shapes[name] = shape
	}
	return shapes, nil
}

// randomInputs makes inputs of the model's types: normal numbers, and 0 or 1
// for integers, which are valid as indices of almost anything. Symbolic
// dimensions have the sizes that other inputs give them, and otherwise 1.
func randomInputs(g *ir.Graph, given []*tensor.Tensor, shapes map[string][]int, seed uint64) ([]*tensor.Tensor, error) {
	for name := range shapes {
		if !hasInput(g, name) {
			return nil, misusef("--shape %s: the model has no such input; its inputs are %s", name, samples.InputNames(g))
		}
	}
	sizes := symbolSizes(g, given, shapes)
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if given != nil && given[i] != nil {
			out[i] = given[i]
			continue
		}
		shape, ok := shapes[v.Name]
		if !ok {
			if v.Type.Shape == nil {
				return nil, misusef("input %q has no rank: give --shape %s=…", v.Name, v.Name)
			}
			for _, d := range v.Type.Shape {
				shape = append(shape, sizeOf(d, sizes))
			}
		}
		t, err := randomTensor(rng, v.Type.DType, shape)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", v.Name, err)
		}
		out[i] = t
	}
	return out, nil
}

func hasInput(g *ir.Graph, name string) bool {
	for _, v := range g.Inputs {
		if v.Name == name {
			return true
		}
	}
	return false
}

func randomTensor(rng *rand.Rand, dt dtype.Type, shape []int) (*tensor.Tensor, error) {
	if err := tensor.CheckSize(shape); err != nil {
		return nil, err
	}
	t := tensor.New(dt, shape...)
	n := t.Len()
	switch {
	case dt == dtype.Float32:
		for i := range n {
			tensor.Of[float32](t)[i] = float32(rng.NormFloat64())
		}
	case dt == dtype.Float64:
		for i := range n {
			tensor.Of[float64](t)[i] = rng.NormFloat64()
		}
	case dt == dtype.Float16:
		for i := range n {
			tensor.Of[uint16](t)[i] = dtype.F32ToF16(float32(rng.NormFloat64()))
		}
	case dt == dtype.BFloat16:
		for i := range n {
			tensor.Of[uint16](t)[i] = dtype.F32ToBF16(float32(rng.NormFloat64()))
		}
	case dt.IsInt() && dt.Bits() >= 8 || dt == dtype.Bool:
		for i := range n {
			t.Data[i*dt.Bits()/8] = byte(rng.IntN(2))
		}
	default:
		return nil, fmt.Errorf("no random values for %s; give it with --input", dt)
	}
	return t, nil
}
