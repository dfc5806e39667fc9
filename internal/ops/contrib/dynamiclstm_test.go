package contrib

import (
	"bytes"
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// TestDynamicLSTMThreads wants the same bits of any number of threads: fewer than
// directions, as many, and more, which share the products.
func TestDynamicLSTMThreads(t *testing.T) {
	const seq, batch, in, hidden = 4, 44, 40, 128
	one, zero := tensor.FromSlice([]float32{.002, .001}), tensor.FromSlice([]uint8{128, 120})
	tensors := []*tensor.Tensor{wave(seq, batch, in), bytesWave[uint8](2, in, 4*hidden), bytesWave[uint8](2, hidden, 4*hidden), wave(2, 8*hidden), nil, nil, nil, nil, one, zero, one, zero}
	var facts []op.Fact
	var values []*ir.Value
	for i, x := range tensors {
		var v *ir.Value
		f := op.Fact{}
		if x != nil {
			v = ir.NewConst("", x)
			f = op.FactOf(v)
		}
		if i == 0 {
			f.Const, f.Content = nil, nil
		}
		facts, values = append(facts, f), append(values, v)
	}
	n := ir.NewNode(op.Microsoft, "DynamicQuantizeLSTM", 1, values, []*ir.Value{ir.NewValue("y", ir.Type{})},
		map[string]*ir.Attr{"direction": ir.Str("bidirectional"), "hidden_size": ir.Int(hidden)})
	if err := op.Complete(n); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for threads := 1; threads <= 4; threads++ {
		k, err := compileDynamicLSTM(&op.Prep{Node: n, In: facts, Threads: threads, Pack: func(_ string, size int, fill func([]byte)) []byte {
			b := tensor.Bytes(size)
			fill(b)
			return b
		}})
		if k == nil || err != nil {
			t.Fatalf("%d threads: kernel %v, error %v", threads, k, err)
		}
		p := pool.New(threads)
		c := &op.Call{Context: context.Background(), Node: n, In: tensors, Pool: p, Scratch: tensor.Bytes(k.(op.Scratcher).ScratchBytes())}
		err = k.Run(c)
		p.Close()
		switch {
		case err != nil:
			t.Fatalf("%d threads: %v", threads, err)
		case want == nil:
			want = c.Out[0].Data
		case !bytes.Equal(c.Out[0].Data, want):
			t.Errorf("%d threads give other bits than one", threads)
		}
	}
}
