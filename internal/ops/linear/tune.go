package linear

import (
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/op"
)

// tuning asks for the choices that a product leaves open.
func tuning(p *op.Prep, t *gemm.Product) (g gemm.Tuning) {
	if t.N == 1 {
		return g
	}
	if rows := gemm.TileRows(); t.M > rows/2 {
		g.TileRows = p.ChooseNumber("tile-rows", 0, rows, rows-1, rows-2, rows/2+1, rows/2, rows/2-1)
	}
	g.DepthRows = p.ChooseNumber("depth-rows", 0, 256, 384, 512, 768, 1024, 1536)
	g.BlockBytes = blockBytes(p, gemm.BlockBytes(p.In[1].Const != nil))
	if p.In[1].Const == nil && !t.B.Trans {
		g.CopyB = tiling.Switch(p.ChooseIndex(op.Choice{Name: "copy-b", Options: []string{"by-cost", "yes", "no"}}))
	}
	g.Along = along(p)
	return g
}

// TuneIntegers asks for the choices that a product of integers leaves open.
func TuneIntegers(p *op.Prep) qgemm.Tuning {
	return qgemm.Tuning{BlockBytes: blockBytes(p, qgemm.BlockBytes()), Along: along(p)}
}

func blockBytes(p *op.Prep, usual int) int {
	return p.ChooseNumber("block-bytes", usual, usual/4, usual/2, usual*3/2)
}

// along asks for the cuts, where there are several threads to cut for.
func along(p *op.Prep) tiling.Along {
	if p.Threads == 1 {
		return tiling.Both
	}
	return tiling.Along(p.ChooseIndex(op.Choice{Name: "split", Options: []string{"by-cost", "rows", "columns"}}))
}
