package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/dtype"
)

// Source is a tensor to be written.
type Source struct {
	Name  string
	Type  dtype.Type
	Shape []int // outermost dimension first
	// WriteTo writes the data, as many bytes as Type and Shape say. It is called once.
	WriteTo func(io.Writer) error
}

// Source is t as something to write.
func (t *Tensor) Source() Source {
	return Source{t.Name, t.Type, t.Shape, func(w io.Writer) error {
		_, err := w.Write(t.Data)
		return err
	}}
}

// Write writes a file. Tensors come in the given order, but those with large
// elements first, so that each begins at a multiple of its element's size. Equal
// arguments give equal bytes. What was written before an error is no valid file.
func Write(w io.Writer, metadata map[string]string, tensors []Source) error {
	return writeFile(w, metadata, tensors, maxHeader)
}

func writeFile(w io.Writer, metadata map[string]string, tensors []Source, most int) error {
	tensors = slices.Clone(tensors)
	sort.SliceStable(tensors, func(i, j int) bool { return tensors[i].Type.Bits() > tensors[j].Type.Bits() })
	header, sizes, err := encodeHeader(metadata, tensors)
	if err != nil {
		return err
	}
	if n := len(header) - 8; n > most {
		return fmt.Errorf("the header has %d bytes, the format allows %d: write the model as several files", n, most)
	}
	b := bufio.NewWriterSize(w, 1<<20)
	if _, err := b.Write(header); err != nil {
		return err
	}
	for i, t := range tensors {
		c := counter{w: b}
		if err := t.WriteTo(&c); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if c.n != int64(sizes[i]) {
			return fmt.Errorf("tensor %q wrote %d bytes, expected %d (%v, shape %v)", t.Name, c.n, sizes[i], t.Type, t.Shape)
		}
	}
	return b.Flush()
}

// counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// encodeHeader gives the bytes in front of the data, a multiple of 8, and the tensors' sizes.
func encodeHeader(metadata map[string]string, tensors []Source) (header []byte, sizes []int, err error) {
	o := objectWriter{b: bytes.NewBuffer(make([]byte, 8))}
	for key, v := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(v) {
			return nil, nil, fmt.Errorf("metadata %q: %q is not UTF-8", key, v)
		}
	}
	if len(metadata) > 0 {
		o.member(metadataKey, metadata)
	}
	seen, at := map[string]bool{metadataKey: true}, 0
	for _, t := range tensors {
		if seen[t.Name] || !utf8.ValidString(t.Name) {
			return nil, nil, fmt.Errorf("tensor %q: its name occurs twice, is reserved, or is not UTF-8", t.Name)
		}
		seen[t.Name] = true
		e, err := describe(t, at)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		o.member(t.Name, e)
		sizes, at = append(sizes, e.Offsets[1]-at), e.Offsets[1]
	}
	header = o.end()
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, sizes, o.err
}

// describe gives the entry of a tensor whose data begin at byte at.
func describe(t Source, at int) (entry, error) {
	for name, known := range types {
		if known != t.Type {
			continue
		}
		n, err := sizeOf(t.Type, t.Shape)
		if err == nil && n > math.MaxInt-at {
			err = errors.New("the tensors have more bytes than this system can address")
		}
		return entry{name, append([]int{}, t.Shape...), [2]int{at, at + n}}, err
	}
	return entry{}, fmt.Errorf("safetensors has no type for %v", t.Type)
}

// entry is the description of a tensor.
type entry struct {
	Type    string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// objectWriter writes a JSON object member by member, in the order of the calls.
type objectWriter struct {
	b     *bytes.Buffer
	count int
	err   error
}

func (o *objectWriter) member(key string, value any) {
	k, err := json.Marshal(key)
	v, err2 := json.Marshal(value)
	o.err = errors.Join(o.err, err, err2)
	separator := byte(',')
	if o.count == 0 {
		separator = '{'
	}
	o.count++
	o.b.WriteByte(separator)
	o.b.Write(k)
	o.b.WriteByte(':')
	o.b.Write(v)
}

// end closes the object, with spaces up to a multiple of 8.
func (o *objectWriter) end() []byte {
	if o.count == 0 {
		o.b.WriteByte('{')
	}
	o.b.WriteByte('}')
	for o.b.Len()%8 != 0 {
		o.b.WriteByte(' ')
	}
	return o.b.Bytes()
}
