package samples

import (
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
)

// labelsName is the array of an .npz that holds the samples' classes, unless an
// input has that name.
const labelsName = "labels"

// arrays are .npz and .npy files; each holds one sample or several. The arrays
// of one file are in memory at a time.
type arrays struct {
	graph *ir.Graph
	files []string
	first []int // the number of each file's first sample; at the end that of all
	class [][]int

	now   int // the file that is in memory, or -1
	data  []*tensor.Tensor
	parts []part
}

func openArrays(files []string, g *ir.Graph) (source, error) {
	if len(g.Inputs) == 0 {
		return nil, errNoInputs
	}
	a := &arrays{graph: g, files: files, first: []int{0}, now: -1}
	for i := range files {
		n, class, err := a.load(i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[i], err)
		}
		a.first = append(a.first, a.first[i]+n)
		a.class = append(a.class, class)
	}
	return a, nil
}

// load reads a file and tells how many samples it has.
func (a *arrays) load(file int) (n int, class []int, err error) {
	path := a.files[file]
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		if _, err := only(a.graph, "an .npy file"); err != nil {
			return 0, nil, err
		}
		t, err := npy.ReadFile(path)
		if err != nil {
			return 0, nil, err
		}
		n, err := a.hold(file, []*tensor.Tensor{t})
		return n, nil, err
	}
	z, err := npy.OpenArchive(path)
	if err != nil {
		return 0, nil, err
	}
	defer z.Close()
	data := make([]*tensor.Tensor, len(a.graph.Inputs))
	for i, v := range a.graph.Inputs {
		key, err := keyOf(z, v.Name, a.graph)
		if err != nil {
			return 0, nil, err
		}
		if data[i], err = z.Read(key); err != nil {
			return 0, nil, err
		}
	}
	if n, err = a.hold(file, data); err != nil {
		return 0, nil, err
	}
	if class, err = archiveLabels(z, a.graph); err == nil && class != nil && len(class) != n {
		err = fmt.Errorf("array %q has %d classes for %d samples", labelsName, len(class), n)
	}
	return n, class, err
}

// keyOf is the array for an input: its name, or that with in_ or in: in front.
func keyOf(z *npy.Archive, name string, g *ir.Graph) (string, error) {
	for _, key := range []string{name, "in_" + name, "in:" + name} {
		if z.Has(key) {
			return key, nil
		}
	}
	return "", fmt.Errorf("no array for input %q: the model has %s, the file %s", name, inputNames(g), strings.Join(z.Names(), ", "))
}

// archiveLabels reads the classes of an archive's samples, if it has any.
func archiveLabels(z *npy.Archive, g *ir.Graph) ([]int, error) {
	for _, v := range g.Inputs {
		if v.Name == labelsName {
			return nil, nil
		}
	}
	if !z.Has(labelsName) {
		return nil, nil
	}
	t, err := z.Read(labelsName)
	if err != nil {
		return nil, err
	}
	return classes(t)
}

// hold keeps the arrays of a file, cut into samples.
func (a *arrays) hold(file int, data []*tensor.Tensor) (int, error) {
	parts, names := make([]part, len(data)), make([]string, len(data))
	for i, v := range a.graph.Inputs {
		names[i] = fmt.Sprintf("input %q", v.Name)
		var err error
		if data[i].DType != v.Type.DType {
			err = fmt.Errorf("expected %s, found %s; convert the array", v.Type, data[i])
		} else {
			parts[i], err = partOf(a.graph, v, data[i].Shape)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", names[i], err)
		}
	}
	n, err := together(names, parts)
	if err != nil {
		return 0, err
	}
	a.now, a.data, a.parts = file, data, parts
	return n, nil
}

func (a *arrays) len() int { return a.first[len(a.files)] }

// find gives the file that has sample i, and its number in there.
func (a *arrays) find(i int) (file, at int) {
	file = sort.SearchInts(a.first, i+1) - 1
	return file, i - a.first[file]
}

func (a *arrays) where(i int) string {
	file, at := a.find(i)
	return fmt.Sprintf("%s, sample %d", a.files[file], at)
}

func (a *arrays) label(i int) (int, bool) {
	file, at := a.find(i)
	if a.class[file] == nil {
		return 0, false
	}
	return a.class[file][at], true
}

func (a *arrays) read(_ context.Context, i int) ([]*tensor.Tensor, error) {
	file, at := a.find(i)
	if file != a.now {
		if _, _, err := a.load(file); err != nil {
			return nil, err
		}
	}
	in := make([]*tensor.Tensor, len(a.data))
	for j, p := range a.parts {
		in[j] = p.take(a.data[j], at)
	}
	return in, nil
}
