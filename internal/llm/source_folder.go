package llm

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// maxJSON bounds the small files of a folder, in bytes.
const maxJSON = 16 << 20

// openFolder reads a folder as transformers writes it.
func openFolder(path string) (s *source, err error) {
	raw, err := readSmall(path, "config.json")
	if err != nil {
		return nil, err
	}
	config, err := arch.FromHuggingFace(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s = &source{config: config}
	if s.arch, err = arch.Of(config); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(path, "modules.json")); err == nil {
		s.pooled = true
	}
	if err := s.readGeneration(path, raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.template, err = folderTemplate(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.tokenizer, err = token.FromFolder(os.DirFS(path)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.ends = union(s.tokenizer.EOS(), s.ends)
	s.nameEnds()
	return s, s.openTensors(path)
}

// openTensors maps the weights.
func (s *source) openTensors(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	w := newFolderWeights(f, s.arch)
	s.weights, s.release, s.close = w, f.Release, f.Close
	if s.params, err = w.openQuantized(s.config.Quantized); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	for _, t := range f.Tensors {
		s.bytes += int64(len(t.Data))
		if w.parts[t.Name] {
			continue
		}
		if _, ok := formats[t.Type]; !ok && t.Type.IsFloat() {
			return errors.Join(fmt.Errorf("%s: tensor %q is %s, expected float32, float16 or bfloat16", path, t.Name, t.Type), f.Close())
		}
		s.params += int64(tensor.Count(t.Shape))
	}
	return nil
}

// nameEnds notes how templates write the tokens at a text's ends.
func (s *source) nameEnds() {
	if id, ok := s.tokenizer.BOS(); ok {
		s.bos = s.tokenizer.Piece(id)
	}
	if ids := s.tokenizer.EOS(); len(ids) > 0 {
		s.eos = s.tokenizer.Piece(ids[0])
	}
}

func union(lists ...[]int32) (all []int32) {
	for _, list := range lists {
		for _, id := range list {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// readSmall reads a file of a folder that is not large.
func readSmall(folder, name string) ([]byte, error) {
	path := filepath.Join(folder, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxJSON {
		return nil, fmt.Errorf("%s has %d bytes, expected at most %d", path, st.Size(), maxJSON)
	}
	return os.ReadFile(path)
}

// readOptional decodes a JSON file if it is there.
func readOptional(folder, name string, into any) error {
	b, err := readSmall(folder, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// tokenIDs are one id or several.
type tokenIDs []int32

func (t *tokenIDs) UnmarshalJSON(b []byte) error {
	var one *int32
	if err := json.Unmarshal(b, &one); err == nil {
		if *t = nil; one != nil {
			*t = tokenIDs{*one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]int32)(t))
}

// readGeneration reads what ends an answer, and how the model's makers sample:
// generation_config.json, or config.json in folders without one.
func (s *source) readGeneration(path string, config []byte) error {
	var g struct {
		EOS         tokenIDs `json:"eos_token_id"`
		Sample      bool     `json:"do_sample"`
		Temperature *float32 `json:"temperature"`
		TopK        int      `json:"top_k"`
		TopP        float32  `json:"top_p"`
		MinP        float32  `json:"min_p"`
		TypicalP    float32  `json:"typical_p"`
		Repetition  float32  `json:"repetition_penalty"`
	}
	if err := readOptional(path, "generation_config.json", &g); err != nil {
		return err
	}
	var own struct {
		EOS tokenIDs `json:"eos_token_id"`
	}
	if err := json.Unmarshal(config, &own); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	if s.ends = g.EOS; len(s.ends) == 0 {
		s.ends = own.EOS
	}
	s.defaults.Repetition = g.Repetition
	if g.Sample { // else it is greedy, whatever else is there
		s.defaults = textgen.Sampling{Temperature: 1, TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, TypicalP: g.TypicalP, Repetition: g.Repetition}
		if g.Temperature != nil {
			s.defaults.Temperature = *g.Temperature
		}
	}
	return nil
}

// folderTemplate is the chat template: a file of its own, or in the tokenizer's
// configuration as a text, or the one called default of several.
func folderTemplate(path string) (string, error) {
	b, err := readSmall(path, "chat_template.jinja")
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return string(b), err
	}
	for _, name := range []string{"chat_template.json", "tokenizer_config.json"} {
		var c struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if err := readOptional(path, name, &c); err != nil {
			return "", err
		}
		if len(c.Template) == 0 || string(c.Template) == "null" {
			continue
		}
		text, err := templateOf(c.Template)
		if err != nil {
			return "", fmt.Errorf("%s: chat_template: %w", name, err)
		}
		return text, nil
	}
	return "", nil
}

func templateOf(raw json.RawMessage) (text string, err error) {
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(raw, &list); err != nil {
		return "", err
	}
	for _, t := range list {
		if t.Name == "default" || len(list) == 1 {
			return t.Template, nil
		}
	}
	return "", fmt.Errorf("none of %d templates is called default", len(list))
}

// folderWeights finds the tensors of safetensors files by their GGUF names.
type folderWeights struct {
	file   *safetensors.File
	arch   *arch.Architecture
	prefix string // that the file's names lack, such as "model."
	asked  map[string]bool
	// quantized is nil where no layer has few bits. parts are the tensors of those
	// that have.
	quantized *packed.Config
	parts     map[string]bool
	err       error // of the first layer that could not be read
}

func newFolderWeights(f *safetensors.File, a *arch.Architecture) *folderWeights {
	w := &folderWeights{file: f, arch: a, asked: map[string]bool{}}
	if name, ok := a.HuggingFaceName("token_embd.weight"); ok {
		w.prefix = a.Prefix(name, f.Has)
	}
	return w
}

// formats are the types that products take.
var formats = map[dtype.Type]block.Format{dtype.Float32: block.F32, dtype.Float16: block.F16, dtype.BFloat16: block.BF16}

// Weight gives a tensor where it lies in the file. Matrices that the file has
// transposed are copied.
func (w *folderWeights) Weight(name string) (arch.Weight, bool) {
	own := w.Name(name)
	if layer, ok := strings.CutSuffix(own, ".weight"); ok && w.quantized != nil && w.quantized.Has(w.tensor, layer) {
		return w.fewBits(layer)
	}
	t, err := w.file.Tensor(own)
	if err != nil {
		return arch.Weight{}, false
	}
	f, ok := formats[t.Type]
	if !ok {
		return arch.Weight{}, false // integers and the like
	}
	w.asked[own] = true
	out := arch.Weight{Format: f, Shape: t.Shape, Data: t.Data}
	if w.arch.IsTransposed(name) && len(t.Shape) == 2 {
		out = transposed(out, t.Type.Bytes(1))
	}
	return out, true
}

// openQuantized holds the shapes of all layers of few bits together, and gives
// the number of their weights.
func (w *folderWeights) openQuantized(c *packed.Config) (count int64, err error) {
	if c == nil {
		return 0, nil
	}
	w.quantized, w.parts = c, map[string]bool{}
	for _, t := range w.file.Tensors {
		at := strings.LastIndexByte(t.Name, '.')
		if at < 0 || w.parts[t.Name] || !c.Has(w.tensor, t.Name[:at]) {
			continue
		}
		rows, cols, err := c.Shape(w.tensor, t.Name[:at])
		if err != nil {
			return 0, err
		}
		count += int64(rows) * int64(cols)
		for _, name := range c.Names(t.Name[:at]) {
			w.parts[name] = true
		}
	}
	return count, nil
}

// fewBits gives the weights of a layer of few bits, which are copied.
func (w *folderWeights) fewBits(layer string) (arch.Weight, bool) {
	for _, name := range w.quantized.Names(layer) {
		w.asked[name] = true
	}
	m, err := w.quantized.Read(w.tensor, layer)
	if err != nil {
		w.err = cmp.Or(w.err, err)
		return arch.Weight{}, false
	}
	return arch.FromPacked(m), true
}

// tensor is a packed.Source.
func (w *folderWeights) tensor(name string) (*safetensors.Tensor, bool) {
	t, err := w.file.Tensor(name)
	return t, err == nil
}

// Err is why a layer of few bits could not be read.
func (w *folderWeights) Err() error { return w.err }

// Name is what the file calls a tensor, or the GGUF name if it has none.
func (w *folderWeights) Name(name string) string {
	own, ok := w.arch.HuggingFaceName(name)
	if !ok {
		return name
	}
	return w.arch.Rename(own, w.prefix)
}

// Rest are the tensors that nothing asked for.
func (w *folderWeights) Rest() (names []string) {
	for _, t := range w.file.Tensors {
		if !w.asked[t.Name] {
			names = append(names, t.Name)
		}
	}
	return names
}

// transposed copies a matrix of elements of the given size.
func transposed(w arch.Weight, size int) arch.Weight {
	rows, cols := w.Shape[0], w.Shape[1]
	out := arch.Weight{Format: w.Format, Shape: []int{cols, rows}, Data: make([]byte, len(w.Data))}
	for i := range rows {
		for j := range cols {
			from, to := (i*cols+j)*size, (j*rows+i)*size
			if size == 4 {
				binary.NativeEndian.PutUint32(out.Data[to:], binary.NativeEndian.Uint32(w.Data[from:]))
			} else {
				copy(out.Data[to:to+size], w.Data[from:])
			}
		}
	}
	return out
}
