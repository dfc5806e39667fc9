package gemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A Micro multiplies on the calling goroutine, one tile of rows at a time, for
// kernels that do other work between products (attention). Its elements have
// the bits of a Task. It is used by one goroutine at a time.
type Micro struct {
	kern *kernels
	tile tile
}

// Use takes the kernels of the level in force.
func (m *Micro) Use() { m.kern = current() }

// Rows is the largest number of rows of a Strip.
func (m *Micro) Rows() int { return m.kern.mr }

// Width is the number of columns of a panel of packed B.
func (m *Micro) Width() int { return m.kern.nr }

// Side is how many panels of packed B a product of so many rows reads side by side.
func (m *Micro) Side(rows int) int { return m.kern.panelsOf(rows) }

// NeedsPanels reports whether B with n columns must be packed.
func (m *Micro) NeedsPanels(n int) bool { return !m.kern.masksB && n%m.kern.nr != 0 }

// Powers reports whether a Strip may have Sums.
func (m *Micro) Powers() bool { return m.kern.powers }

// PanelSize is the number of elements that Pack writes for K×N.
func (m *Micro) PanelSize(k, n int) int { return k * tiling.Align(n, m.kern.nr) }

// Pack copies B, K×N, into panels. b.Steps is ignored.
func (m *Micro) Pack(dst []float32, b *Matrix, k, n int) {
	nr := m.kern.nr
	for j := 0; j < n; j += nr {
		packPanel(m.kern, dst[j*k:][:nr*k], b, 0, 0, k, j, min(nr, n-j))
	}
}

// A Strip is a few rows of a product: C = max(alpha·A·B + biases + residual,
// Lo). The caller has made sure that all slices are long enough.
type Strip struct {
	Rows, N, K int // K at least 1
	A          []float32
	StrideA    int
	B          []float32
	StrideB    int // 0: B is packed
	Panel      int // elements from one panel of packed B to the next; 0: no panel has more than K rows
	C          []float32
	StrideC    int
	Continue   bool // the sums in C; nothing below is done then

	Alpha     float32   // 0 stands for 1
	ColBias   []float32 // N elements, or nil
	RowBias   []float32 // Rows elements, or nil
	Residual  []float32 // Rows×N, or nil
	StrideRes int
	AtLeast   bool // of Lo
	Lo        float32

	// Sums, if not nil, are 16 of each row, to which powers of two are added that the
	// elements become, as package softmax's Powers has it. N is then whole panels.
	Sums []float32

	// Fetch is what the caller reads next: it comes to the second cache meanwhile.
	Fetch []byte
}

// Multiply computes a strip.
func (m *Micro) Multiply(s *Strip) {
	x, nr := &m.tile, m.kern.nr
	x.a, x.lda = at(s.A, 0), 4*s.StrideA
	x.rows, x.k = s.Rows, s.K
	x.ldc, x.ldr = 4*s.StrideC, 4*s.StrideRes
	x.rowBias = at(s.RowBias, 0)
	x.alpha, x.beta = one(s.Alpha), 1
	x.lo, x.hi = s.Lo, inf
	x.flags = s.flags()
	x.mask = 1<<nr - 1
	panel, wide := nr*s.K, 1
	if s.Panel != 0 {
		panel = s.Panel
	}
	x.ldb, x.step = 4*nr, 4*panel
	if s.StrideB != 0 {
		panel, x.ldb, x.step = nr, 4*s.StrideB, 4*nr
	} else if s.Sums == nil {
		wide = m.kern.panelsOf(s.Rows)
	}
	x.sums = at(s.Sums, 0)
	share := len(s.Fetch) / max(tiling.Ceil(s.N, nr), 1) // of a panel
	x.setFetching(m.kern, share, s.K, s.StrideB == 0)
	x.nextStep = share
	whole := s.N / nr
	for j, n := 0, 0; j < s.N; j += n * nr {
		f := m.kern.tile[s.Rows]
		switch {
		case j/nr >= whole:
			n = 1
			f = m.kern.partialOf(s.Rows, s.N-j)
			x.mask = 1<<(s.N-j) - 1
			if s.StrideB != 0 {
				x.flags |= flagMaskB
			}
		case wide > 1 && j/nr+wide <= whole:
			f, n = m.kern.wide[s.Rows], wide
		default:
			n = min(whole-j/nr, maxPanels)
		}
		x.panels = n
		x.b = unsafe.Add(at(s.B, 0), 4*(j/nr)*panel)
		x.c, x.colBias, x.residual = at(s.C, j), at(s.ColBias, j), at(s.Residual, j)
		if share > 0 {
			x.next = unsafe.Pointer(&s.Fetch[j/nr*share])
		}
		f(x.arg())
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	m.tile = tile{}
}

func (s *Strip) flags() (f uint64) {
	if s.Continue {
		return flagLoad
	}
	if s.Alpha != 0 && s.Alpha != 1 {
		f |= flagAlpha
	}
	if s.ColBias != nil {
		f |= flagColBias
	}
	if s.RowBias != nil {
		f |= flagRowBias
	}
	if s.Residual != nil {
		f |= flagResidual
	}
	if s.AtLeast {
		f |= flagClip
	}
	if s.Sums != nil {
		f |= flagPowers
	}
	return f
}
