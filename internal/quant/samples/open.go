package samples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// Options say how data becomes inputs.
type Options struct {
	// Model is the path of the model. Recipes for pictures and tokenizers are
	// looked for beside it.
	Model string
	// Recipe is what flags state of how pictures become inputs; the rest is
	// taken from the recipe beside the model.
	Recipe image.Spec
	// Labels is a file with the class of each sample: .npy, or text with a number
	// a line, with or without a name in front. For pictures in folders it may
	// also be a list of the folders' names in the order of the classes. It goes
	// before labels that the data has.
	Labels string
	// Limit is the most samples, taken evenly from all; 0 takes all.
	Limit int
	// MaxTokens is the most tokens of a text; 0 stands for 256. A model whose
	// inputs have a fixed length gets that.
	MaxTokens int
}

// Open reads what is at path as inputs of graph g: an .npz or .npy file or a
// folder of them, a folder of pictures, JSON lines (.jsonl), or lines of text
// (.txt).
func Open(path string, g *ir.Graph, o Options) (Set, error) {
	if o.Limit < 0 {
		return nil, fmt.Errorf("a limit of %d samples: expected at least 1, or 0 for all", o.Limit)
	}
	src, err := open(path, g, o)
	if err != nil {
		return nil, err
	}
	if src.len() == 0 {
		return nil, fmt.Errorf("%s: no samples: expected at least one", path)
	}
	s := &set{source: src, inputs: g.Inputs, n: src.len()}
	if o.Labels != "" {
		if s.labels, err = readLabels(o.Labels, src); err != nil {
			return nil, err
		}
	}
	if o.Limit > 0 {
		s.n = min(s.n, o.Limit)
	}
	return s, nil
}

func open(path string, g *ir.Graph, o Options) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openFolder(path, g, o)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz", ".npy":
		return openArrays([]string{path}, g)
	case ".jsonl", ".ndjson":
		return openJSON(path, g, o)
	case ".txt":
		return openText(path, g, o)
	}
	if isPicture(path) {
		return openPictures(filepath.Dir(path), []string{path}, g, o)
	}
	return nil, fmt.Errorf("%s: no form of data that is known: expected .npz, .npy, .jsonl, .txt, a picture, or a folder of .npz, .npy or pictures", path)
}

// openFolder reads a folder of arrays or one of pictures.
func openFolder(dir string, g *ir.Graph, o Options) (source, error) {
	var arrays, pictures []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") && path != dir {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		switch ext := strings.ToLower(filepath.Ext(path)); {
		case d.IsDir():
		case ext == ".npz" || ext == ".npy":
			arrays = append(arrays, path)
		case isPicture(path):
			pictures = append(pictures, path)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(arrays) > 0 && len(pictures) > 0:
		return nil, fmt.Errorf("%s: it has arrays (%s) and pictures (%s): expected files of one kind", dir, filepath.Base(arrays[0]), filepath.Base(pictures[0]))
	case len(arrays) > 0:
		return openArrays(arrays, g)
	case len(pictures) > 0:
		return openPictures(dir, pictures, g, o)
	}
	return nil, fmt.Errorf("%s: no data: expected files that end in .npz, .npy, %s", dir, strings.Join(pictureNames, ", "))
}

// pictureNames are the ends of names of files that image.Decode may read.
var pictureNames = []string{".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp"}

func isPicture(path string) bool {
	return slices.Contains(pictureNames, strings.ToLower(filepath.Ext(path)))
}

// source is where samples come from.
type source interface {
	len() int
	// read gives sample i as it is; set checks it.
	read(ctx context.Context, i int) ([]*tensor.Tensor, error)
	label(i int) (int, bool)
	// where names sample i for messages.
	where(i int) string
}

// set takes samples from a source, evenly, and checks them.
type set struct {
	source source
	inputs []*ir.Value
	n      int
	labels []int // of all samples of the source; nil: what the source says
}

func (s *set) Len() int { return s.n }

// place is the number in the source of sample i.
func (s *set) place(i int) int { return i * s.source.len() / s.n }

func (s *set) At(ctx context.Context, i int) ([]*tensor.Tensor, error) {
	if i < 0 || i >= s.n {
		return nil, fmt.Errorf("sample %d: expected 0 to %d", i, s.n-1)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	i = s.place(i)
	in, err := s.source.read(ctx, i)
	if err == nil {
		err = s.check(in)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.source.where(i), err)
	}
	return in, nil
}

func (s *set) Label(i int) (int, bool) {
	switch {
	case i < 0 || i >= s.n:
		return 0, false
	case s.labels != nil:
		return s.labels[s.place(i)], true
	}
	return s.source.label(s.place(i))
}

// check compares a sample with what the model takes.
func (s *set) check(in []*tensor.Tensor) error {
	for i, v := range s.inputs {
		if err := checkInput(v, in[i]); err != nil {
			return fmt.Errorf("input %q: %w", v.Name, err)
		}
	}
	return nil
}

func checkInput(v *ir.Value, t *tensor.Tensor) error {
	if t.DType != v.Type.DType {
		return fmt.Errorf("expected %s, found %s; convert the array", v.Type, t)
	}
	if v.Type.Shape != nil && !fits(v.Type.Shape, t.Shape) {
		return fmt.Errorf("expected %s, found %s", v.Type, t)
	}
	if i := firstNaN(t); i >= 0 {
		return fmt.Errorf("element %d of %s is NaN: expected numbers", i, t)
	}
	return nil
}

// firstNaN is where the first NaN is, or -1.
func firstNaN(t *tensor.Tensor) int {
	switch t.DType {
	case dtype.Float32:
		return slices.IndexFunc(tensor.Of[float32](t), func(x float32) bool { return x != x })
	case dtype.Float64:
		return slices.IndexFunc(tensor.Of[float64](t), func(x float64) bool { return x != x })
	case dtype.Float16:
		return slices.IndexFunc(tensor.Of[uint16](t), func(x uint16) bool { return x&0x7fff > 0x7c00 })
	case dtype.BFloat16:
		return slices.IndexFunc(tensor.Of[uint16](t), func(x uint16) bool { return x&0x7fff > 0x7f80 })
	}
	return -1
}

// only gives the graph's one input, for data that can fill only one.
func only(g *ir.Graph, what string) (*ir.Value, error) {
	if len(g.Inputs) == 1 {
		return g.Inputs[0], nil
	}
	return nil, fmt.Errorf("%s fills one input, the model has %s: give .npz or .jsonl with a value for each", what, InputNames(g))
}

// InputNames lists the graph's inputs with their types, for messages.
func InputNames(g *ir.Graph) string {
	if len(g.Inputs) == 0 {
		return "none"
	}
	names := make([]string, len(g.Inputs))
	for i, v := range g.Inputs {
		names[i] = fmt.Sprintf("%s %s", v.Name, v.Type)
	}
	return strings.Join(names, ", ")
}

var errNoInputs = errors.New("the model has no inputs that data could fill")
