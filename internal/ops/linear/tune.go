package linear

import (
	"github.com/salver-ml/salver/internal/kernels/gemm"
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
	block := gemm.BlockBytes()
	g.BlockBytes = p.ChooseNumber("block-bytes", block, block/4, block/2, block*3/2)
	if p.In[1].Const == nil && !t.B.Trans {
		g.CopyB = tiling.Switch(p.ChooseIndex(op.Choice{Name: "copy-b", Options: []string{"by-cost", "yes", "no"}}))
	}
	if p.Threads > 1 {
		g.Along = tiling.Along(p.ChooseIndex(op.Choice{Name: "split", Options: []string{"by-cost", "rows", "columns"}}))
	}
	return g
}
