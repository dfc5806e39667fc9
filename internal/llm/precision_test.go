package llm

import (
	"bytes"
	"io"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/testkit"
)

// storiesInBF16 is the file of stories260K in float32, with its matrices in bfloat16.
func storiesInBF16(t testing.TB) []byte {
	t.Helper()
	f, err := gguf.Open(testkit.Assets(t, "models/stories260K/stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var sources []gguf.Source
	for i := range f.Tensors {
		s := f.Tensors[i].Source()
		if len(s.Shape) == 2 {
			s = inBF16(&f.Tensors[i])
		}
		sources = append(sources, s)
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, f.Pairs(), sources); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inBF16(x *gguf.Tensor) gguf.Source {
	values := make([]float32, len(x.Data)/4)
	block.Decode(block.F32, values, x.Data)
	data := make([]byte, 2*len(values))
	block.Encode(block.BF16, data, values)
	return gguf.Source{Name: x.Name, Format: block.BF16, Shape: x.Shape, WriteTo: func(w io.Writer) error { _, err := w.Write(data); return err }}
}

func TestPrecisionIsRefused(t *testing.T) {
	defer cpu.Force(cpu.Generic)()
	if _, err := Parse(storiesInBF16(t), Options{Precision: op.BF16}); err == nil {
		t.Error("bf16 is accepted without tiles")
	}
}
