package samples

import (
	"context"
	"errors"
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

// arrays are .npz and .npy files; each holds one sample or several. One file is
// open at a time, and of that one sample is in memory.
type arrays struct {
	graph *ir.Graph
	files []string
	first []int   // the number of each file's first sample; at the end that of all
	class [][]int // of each file's samples; nil: it has none

	now     int // the file that is open, or -1
	archive *npy.Archive
	columns []*column
}

func openArrays(files []string, g *ir.Graph) (source, error) {
	if len(g.Inputs) == 0 {
		return nil, errNoInputs
	}
	a := &arrays{graph: g, files: files, first: []int{0}, now: -1}
	for i, f := range files {
		n, class, err := a.open(i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", f, err), a.close())
		}
		a.first = append(a.first, a.first[i]+n)
		a.class = append(a.class, class)
	}
	return a, nil
}

// open opens a file instead of the one that is open, and tells how many samples
// it has.
func (a *arrays) open(file int) (n int, class []int, err error) {
	if err := a.close(); err != nil {
		return 0, nil, err
	}
	path := a.files[file]
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		v, err := only(a.graph, "an .npy file")
		if err != nil {
			return 0, nil, err
		}
		a.columns = []*column{{input: v, open: func() (*npy.Rows, error) { return npy.OpenRows(path) }, whole: func() (*tensor.Tensor, error) { return npy.ReadFile(path) }}}
	} else if err := a.openArchive(path); err != nil {
		return 0, nil, err
	}
	if n, err = a.cut(); err != nil {
		return 0, nil, err
	}
	if a.archive != nil {
		if class, err = archiveLabels(a.archive, a.graph); err == nil && class != nil && len(class) != n {
			err = fmt.Errorf("array %q has %d classes for %d samples", labelsName, len(class), n)
		}
	}
	a.now = file
	return n, class, err
}

func (a *arrays) openArchive(path string) error {
	z, err := npy.OpenArchive(path)
	if err != nil {
		return err
	}
	a.archive = z
	for _, v := range a.graph.Inputs {
		key, ok := ArrayOf(z, v.Name)
		if !ok {
			return fmt.Errorf("no array for input %q: the model has %s, the file %s", v.Name, InputNames(a.graph), strings.Join(z.Names(), ", "))
		}
		a.columns = append(a.columns, &column{input: v, open: func() (*npy.Rows, error) { return z.Rows(key) }, whole: func() (*tensor.Tensor, error) { return z.Read(key) }})
	}
	return nil
}

func (a *arrays) close() error {
	var errs []error
	for _, c := range a.columns {
		errs = append(errs, c.close())
	}
	if a.archive != nil {
		errs = append(errs, a.archive.Close())
	}
	a.now, a.archive, a.columns = -1, nil, nil
	return errors.Join(errs...)
}

// cut finds how the open file's arrays are cut into samples.
func (a *arrays) cut() (int, error) {
	parts, names := make([]part, len(a.columns)), make([]string, len(a.columns))
	for i, c := range a.columns {
		names[i] = fmt.Sprintf("input %q", c.input.Name)
		var err error
		if parts[i], err = c.begin(a.graph); err != nil {
			return 0, fmt.Errorf("%s: %w", names[i], err)
		}
	}
	return together(names, parts)
}

// column is the array of one input in the file that is open.
type column struct {
	input *ir.Value
	open  func() (*npy.Rows, error)
	whole func() (*tensor.Tensor, error)
	part
	rows *npy.Rows      // nil where the array belongs to all samples
	all  *tensor.Tensor // the array that does, once it was read
}

// begin looks at the array's header.
func (c *column) begin(g *ir.Graph) (part, error) {
	rows, err := c.open()
	if err != nil {
		return part{}, err
	}
	c.rows = rows
	v, dims := c.input, rows.Shape()
	if dt := rows.DType(); dt != v.Type.DType {
		return part{}, fmt.Errorf("expected %s, found %s %v; convert the array", v.Type, dt, dims)
	}
	c.part, err = partOf(g, v, dims)
	return c.part, err
}

func (c *column) close() error {
	if c.rows == nil {
		return nil
	}
	err := c.rows.Close()
	c.rows = nil
	return err
}

// read gives sample i. To read one that stands before the last that was read, it
// starts again.
func (c *column) read(i int) (*tensor.Tensor, error) {
	if c.samples == 0 {
		if c.all == nil {
			t, err := c.whole()
			if err != nil {
				return nil, err
			}
			c.all = t.Reshape(c.shape...)
		}
		return c.all, nil
	}
	from := i * c.step
	if c.rows.Next() > from {
		rows, err := c.open()
		if err != nil {
			return nil, err
		}
		if err := c.close(); err != nil {
			return nil, err
		}
		c.rows = rows
	}
	if err := c.rows.Skip(from - c.rows.Next()); err != nil {
		return nil, err
	}
	t, err := c.rows.Read(c.step)
	if err != nil {
		return nil, err
	}
	return t.Reshape(c.shape...), nil
}

// ArrayOf is the array of an archive that holds an input: that of its name, or
// of its name with in_ or in: in front. ok says whether there is one.
func ArrayOf(z *npy.Archive, input string) (name string, ok bool) {
	for _, name := range []string{input, "in_" + input, "in:" + input} {
		if z.Has(name) {
			return name, true
		}
	}
	return "", false
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
		if _, _, err := a.open(file); err != nil {
			return nil, err
		}
	}
	in := make([]*tensor.Tensor, len(a.columns))
	for j, c := range a.columns {
		var err error
		if in[j], err = c.read(at); err != nil {
			return nil, fmt.Errorf("input %q: %w", c.input.Name, err)
		}
	}
	return in, nil
}
