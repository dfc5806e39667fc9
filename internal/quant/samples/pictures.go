package samples

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// pictures are files that a recipe turns into inputs.
type pictures struct {
	files  []string
	recipe *image.Recipe
	input  image.Input
	folder []string // the name of the folder that each is in; nil: they are in none
	class  []int    // of each; nil: not known
}

func openPictures(dir string, files []string, g *ir.Graph, o Options) (source, error) {
	v, err := only(g, "a picture")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	p := &pictures{files: files, input: PictureInput(v)}
	if p.recipe, err = image.NewRecipe(o.Model, o.Recipe); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return p, p.byFolder(dir)
}

// PictureInput is what a recipe has to know of an input.
func PictureInput(v *ir.Value) image.Input {
	in := image.Input{Name: v.Name, DType: v.Type.DType}
	for _, d := range v.Type.Shape {
		n, ok := d.Int()
		if !ok {
			n = -1
		}
		in.Shape = append(in.Shape, n)
	}
	return in
}

// byFolder reads classes off the names of sub-folders: the numbers that they
// are, if all are, else their places in alphabetical order.
func (p *pictures) byFolder(dir string) error {
	inside := 0
	folder := make([]string, len(p.files))
	for i, f := range p.files {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return err
		}
		name, _, ok := strings.Cut(filepath.ToSlash(rel), "/")
		if ok {
			folder[i] = name
			inside++
		}
	}
	switch inside {
	case 0:
		return nil
	case len(p.files):
	default:
		at := slices.Index(folder, "")
		return fmt.Errorf("%s: %s lies beside folders of pictures: expected all in folders named by their classes, or none", dir, filepath.Base(p.files[at]))
	}
	p.folder = folder
	names := slices.Compact(slices.Sorted(slices.Values(folder)))
	p.class = make([]int, len(folder))
	numbers := true
	for i, name := range folder {
		n, err := strconv.Atoi(name)
		numbers = numbers && err == nil && n >= 0
		p.class[i] = n
	}
	if !numbers {
		for i, name := range folder {
			p.class[i], _ = slices.BinarySearch(names, name)
		}
	}
	return nil
}

// named gives each picture's class by a list of the folders' names.
func (p *pictures) named(names []string) ([]int, error) {
	list := make([]int, len(p.folder))
	for i, name := range p.folder {
		if list[i] = slices.Index(names, name); list[i] < 0 {
			return nil, fmt.Errorf("no line is %q, which %s is in: expected the names of the folders, or a class for each picture", name, p.files[i])
		}
	}
	return list, nil
}

func (p *pictures) len() int           { return len(p.files) }
func (p *pictures) where(i int) string { return p.files[i] }

func (p *pictures) label(i int) (int, bool) {
	if p.class == nil {
		return 0, false
	}
	return p.class[i], true
}

func (p *pictures) read(_ context.Context, i int) ([]*tensor.Tensor, error) {
	pixels, err := image.DecodeFile(p.files[i])
	if err != nil {
		return nil, err
	}
	t, err := p.recipe.Tensor(pixels, p.input)
	if err != nil {
		return nil, err
	}
	return []*tensor.Tensor{t}, nil
}
