package lm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/tensor"
)

// Importance is how much the columns of matrices count, known as an importance
// matrix: the mean square of the input that each is multiplied with.
type Importance struct {
	File     string // that it was read from
	Dataset  string // that it was measured on
	Chunks   int    // of the data set, of ChunkSize tokens
	Size     int
	byTensor map[string][]float32 // of experts one after the other
}

// Names of what the files of llama-imatrix hold.
const (
	sumSuffix   = ".in_sum2"
	countSuffix = ".counts"
)

// maxImportance bounds a file's bytes, which is read whole.
const maxImportance = 1 << 30

// ReadImportance reads a file that llama-imatrix wrote, in GGUF or, as older
// ones, in a form of its own.
func ReadImportance(path string) (*Importance, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxImportance {
		return nil, fmt.Errorf("%s has %d bytes: an importance matrix has at most %d", path, st.Size(), maxImportance)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	parse := parseOldImportance
	if bytes.HasPrefix(b, []byte("GGUF")) {
		parse = parseImportance
	}
	im, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	im.File = path
	return im, nil
}

func parseImportance(b []byte) (*Importance, error) {
	f, err := gguf.Parse(b)
	if err != nil {
		return nil, err
	}
	if kind, err := f.StringOr("general.type", ""); err != nil || kind != "imatrix" {
		return nil, fmt.Errorf("general.type is %q, expected imatrix: this is no importance matrix", kind)
	}
	im := &Importance{byTensor: map[string][]float32{}}
	if im.Chunks, err = f.UintOr("imatrix.chunk_count", 0); err != nil {
		return nil, err
	}
	if im.Size, err = f.UintOr("imatrix.chunk_size", 0); err != nil {
		return nil, err
	}
	if sets, err := f.Strings("imatrix.datasets"); err == nil && len(sets) > 0 {
		im.Dataset = strings.Join(sets, ", ")
	}
	for i := range f.Tensors {
		name, ok := strings.CutSuffix(f.Tensors[i].Name, sumSuffix)
		if !ok {
			continue
		}
		if err := im.fromSums(f, name, &f.Tensors[i]); err != nil {
			return nil, err
		}
	}
	return im, im.check()
}

// fromSums divides the sums of a tensor by how many they are of.
func (im *Importance) fromSums(f *gguf.File, name string, sums *gguf.Tensor) error {
	counts, err := f.Tensor(name + countSuffix)
	if err != nil {
		return err
	}
	n, stack := tensor.Count(sums.Shape), tensor.Count(counts.Shape)
	if sums.Format != block.F32 || counts.Format != block.F32 || stack == 0 || n%stack != 0 {
		return fmt.Errorf("%s: sums of %v and shape %v with counts of %v and shape %v: expected f32 and a multiple", name, sums.Format, sums.Shape, counts.Format, counts.Shape)
	}
	v, count := make([]float32, n), make([]float32, stack)
	block.Decode(block.F32, v, sums.Data)
	block.Decode(block.F32, count, counts.Data)
	for i := range v {
		if c := count[i/(n/stack)]; c > 0 {
			v[i] /= c
		}
	}
	im.byTensor[name] = v
	return nil
}

// parseOldImportance reads the form from before GGUF: a number of entries; each
// a name, how many calls it sums over, and the sums; then what it was measured on.
func parseOldImportance(b []byte) (*Importance, error) {
	r := &oldReader{Reader: bytes.NewReader(b)}
	im := &Importance{byTensor: map[string][]float32{}}
	entries := r.count("entries", 13)
	for i := 0; i < entries && r.err == nil; i++ {
		name := r.text()
		calls := r.count("calls", 0)
		v := make([]float32, r.count("values", 4))
		r.read(v)
		for j := range v {
			v[j] /= float32(max(calls, 1))
		}
		if _, ok := im.byTensor[name]; ok && r.err == nil {
			r.err = fmt.Errorf("tensor %q occurs twice", name)
		}
		im.byTensor[name] = v
	}
	if r.err == nil && r.Len() > 0 {
		im.Chunks = r.count("chunks", 0)
		im.Dataset = r.text()
	}
	if r.err != nil {
		return nil, fmt.Errorf("not an importance matrix in GGUF, and none in the older form: %w", r.err)
	}
	return im, im.check()
}

// oldReader keeps the first error.
type oldReader struct {
	*bytes.Reader
	err error
}

func (r *oldReader) read(v any) {
	if r.err == nil {
		r.err = binary.Read(r.Reader, binary.LittleEndian, v)
	}
	if r.err == io.EOF {
		r.err = io.ErrUnexpectedEOF
	}
}

// count reads a number of things of so many bytes at least, which have to be there.
func (r *oldReader) count(what string, each int) int {
	var n int32
	r.read(&n)
	if r.err == nil && (n < 0 || each > 0 && int(n) > r.Len()/each) {
		r.err = fmt.Errorf("%d %s are announced, and %d bytes follow", n, what, r.Len())
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *oldReader) text() string {
	b := make([]byte, r.count("characters", 1))
	r.read(b)
	return string(b)
}

// check refuses numbers that are no means of squares.
func (im *Importance) check() error {
	if len(im.byTensor) == 0 {
		return fmt.Errorf("the importance matrix is empty")
	}
	for name, v := range im.byTensor {
		for i, x := range v {
			if !(x >= 0) || math.IsInf(float64(x), 0) {
				return fmt.Errorf("the importance of column %d of %q is %v, expected a number of at least 0", i, name, x)
			}
		}
	}
	return nil
}

// of gives what is known of a tensor's columns, nil if nothing is.
func (im *Importance) of(t *Tensor) ([]float32, error) {
	if im == nil || len(t.Shape) < 2 {
		return nil, nil
	}
	v := im.byTensor[t.Name]
	all := tensor.Count(t.Shape[:len(t.Shape)-2]) * t.Cols()
	if v == nil || len(v) == all || len(v) == t.Cols() {
		return v, nil
	}
	return nil, fmt.Errorf("the importance matrix has %d columns for tensor %q, expected %d: it is of another model", len(v), t.Name, all)
}

// describe notes in a model's metadata what its weights were rounded by.
func (im *Importance) describe(m *Model) {
	m.set("quantize.imatrix.file", im.File)
	m.set("quantize.imatrix.dataset", im.Dataset)
	m.set("quantize.imatrix.entries_count", uint32(len(im.byTensor)))
	m.set("quantize.imatrix.chunks_count", uint32(im.Chunks))
}

// Write writes a GGUF file as llama-imatrix does.
func (im *Importance) Write(w io.Writer) error {
	pairs := []gguf.Pair{{Key: "general.type", Value: "imatrix"}, {Key: "imatrix.datasets", Value: []string{im.Dataset}},
		{Key: "imatrix.chunk_count", Value: uint32(im.Chunks)}, {Key: "imatrix.chunk_size", Value: uint32(im.Size)}}
	var sources []gguf.Source
	count := float32(max(im.Chunks*im.Size, 1))
	for _, name := range slices.Sorted(maps.Keys(im.byTensor)) {
		sums := slices.Clone(im.byTensor[name])
		for i := range sums {
			sums[i] *= count
		}
		sources = append(sources, floats(name+sumSuffix, sums, 1, len(sums)), floats(name+countSuffix, []float32{count}, 1, 1))
	}
	return gguf.Write(w, pairs, sources)
}

// floats is a tensor of float32 to be written.
func floats(name string, v []float32, shape ...int) gguf.Source {
	return gguf.Source{Name: name, Format: block.F32, Shape: shape, WriteTo: func(w io.Writer) error {
		b := make([]byte, 4*len(v))
		block.Encode(block.F32, b, v)
		_, err := w.Write(b)
		return err
	}}
}
