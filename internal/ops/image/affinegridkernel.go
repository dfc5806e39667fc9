package image

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileAffineGrid serves float32 where the image's size is known.
func compileAffineGrid(p *op.Prep) (op.Kernel, error) {
	if p.In[0].DType != dtype.Float32 || p.In[1].Const == nil {
		return nil, nil
	}
	size, err := p.In[1].Const.Ints()
	if err != nil {
		return nil, err
	}
	rank := len(size) - 2
	if rank != 2 && rank != 3 || tensor.Count(p.OutShape(0)) == 0 || !slices.Equal(p.InShape(0), []int{size[0], rank, rank + 1}) {
		return nil, nil // the reference says what is wrong
	}
	k := &affineGridKernel{dims: p.OutShape(0), size: size[2:]}
	for d, n := range k.size {
		positions := make([]float64, n)
		for i := range positions {
			positions[i] = gridPosition(i, n, p.Node.Bool("align_corners"))
		}
		k.positions[rank-1-d] = positions
	}
	k.rows = size[0] * tensor.Count(k.size[:rank-1])
	k.parts = min(split.Parts(tensor.Count(k.dims), 8192), max(k.rows, 1))
	return k, nil
}

// affineGridKernel computes grids row by row, in float64 as the reference.
type affineGridKernel struct {
	dims, size []int
	positions  [3][]float64 // along x, y and z
	rows       int          // of all grids
	parts      int

	dst, theta []float32
}

func (k *affineGridKernel) Run(c *op.Call) error {
	k.dst, k.theta = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0])
	c.Pool.Run(k.parts, k)
	k.dst, k.theta = nil, nil
	return nil
}

// Do computes one chunk of rows; it is called by the pool.
func (k *affineGridKernel) Do(part int) {
	lo, hi := split.Range(k.rows, k.parts, part)
	rank := len(k.size)
	grid, width := k.rows/max(k.dims[0], 1), k.size[rank-1]
	for r := lo; r < hi; r++ {
		theta := k.theta[r/grid*rank*(rank+1):][:rank*(rank+1)]
		y, z := k.positions[1][r%k.size[rank-2]], 0.
		if rank == 3 {
			z = k.positions[2][r%grid/k.size[1]]
		}
		row := k.dst[r*width*rank:][:width*rank]
		if rank == 2 {
			k.planarRow(row, theta, y)
			continue
		}
		for d := range rank {
			m := theta[d*(rank+1):][:rank+1]
			my, mz := float64(float64(m[1])*y), float64(float64(m[2])*z)
			for i, x := range k.positions[0] {
				row[i*rank+d] = float32(float64(float64(m[0])*x) + my + mz + float64(m[3]))
			}
		}
	}
}

// planarRow computes a row of a plane's grid.
func (k *affineGridKernel) planarRow(row, m []float32, y float64) {
	m0, m3 := float64(m[0]), float64(m[3])
	b, c := float64(float64(m[1])*y), float64(m[2])
	e, f := float64(float64(m[4])*y), float64(m[5])
	for _, x := range k.positions[0] {
		row[0] = float32(float64(m0*x) + b + c)
		row[1] = float32(float64(m3*x) + e + f)
		row = row[2:]
	}
}
