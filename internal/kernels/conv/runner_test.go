package conv

import (
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// TestFetchNext holds what a chunk fetches to the weights of a chunk to come.
func TestFetchNext(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	for _, threads := range []*pool.Pool{nil, p} {
		plan, err := New(Params{In: 256, Out: 512, Kernel: []int{1, 1}}, []int{7, 7}, cpu.Level())
		if err != nil {
			t.Fatal(err)
		}
		op := Operands{
			N: 1, In: make([]float32, plan.InSize(1)), Weights: make([]float32, plan.PackedSize()),
			Out: make([]float32, plan.OutSize(1)), Scratch: make([]float32, plan.ScratchSize(threads.Threads())),
		}
		r := plan.NewRunner()
		if err := r.Run(threads, op); err != nil {
			t.Fatal(err)
		}
		r.op = op
		var x window.Tile
		fetched := 0
		for i := range r.cut.Chunks() {
			r.fetchNext(&x, i)
			if x.Next == 0 {
				continue
			}
			fetched++
			later := i + 1
			if threads != nil && i >= r.cut.Chunks()/2 {
				later = i - 1 // the second thread comes from the end
			}
			g := plan.groupsOf[r.cut.At(later).Group]
			from := x.Next - uintptr(unsafe.Pointer(&op.Weights[0]))
			if want := uintptr(4*plan.packed.biasFloats + g.first*plan.weightsOut); from != want {
				t.Errorf("%d threads: chunk %d fetches from byte %d of the weights, want %d", threads.Threads(), i, from, want)
			}
			if n := x.NextEnd - x.Next; n != uintptr(g.n*plan.weightsOut) {
				t.Errorf("%d threads: chunk %d fetches %d bytes, want %d", threads.Threads(), i, n, g.n*plan.weightsOut)
			}
		}
		if fetched == 0 {
			t.Errorf("%d threads: no chunk of %d fetches anything", threads.Threads(), r.cut.Chunks())
		}
	}
}
