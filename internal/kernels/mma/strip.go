package mma

import (
	"math"
	"unsafe"
)

// A Strip multiplies row tiles of bfloat16 by neighbouring panels, over all of K, and
// finishes the sums as Finish says, or also by way of GELU, and rounds them where
// results are of bfloat16. While the tiles add up a row tile the vector units
// finish the one before, which then costs next to nothing. No bounds are checked; of
// results, residual and biases nothing is read or written beyond the Columns that
// exist. The assembly knows the offsets of the fields.
type Strip struct {
	A        unsafe.Pointer
	LDA      int            // bytes from row to row
	StepA    int            // bytes from step to step
	B        unsafe.Pointer // panels without gaps
	Steps    int            // at least 1
	Panels   int            // at least 1
	RowTiles *RowTile
	Tiles    int            // how many of them there are, at least 1
	Sums     unsafe.Pointer // StripSums bytes, on a cache line
	next     unsafe.Pointer // what is fetched into the second-level cache: see Fetch
	nextRuns int            // of 512 bytes, that are left
	stepRuns int            // that a step fetches
	config   *config
	Dst      unsafe.Pointer // of row 0 and the first panel
	LDC      int            // bytes from row to row
	PanelC   int            // bytes from panel to panel
	Residual unsafe.Pointer // nil: none
	LDR      int
	ColBias  unsafe.Pointer // nil: none
	RowBias  unsafe.Pointer // nil: none
	Columns  int            // that exist from the first panel on
	flags    uint64
	Alpha    float32
	Beta     float32
	Lo, Hi   float32 // where Clip
	Slope    float32 // where Leaky
	_        float32
	stepRows int // that are finished in a step
	rows     int
	Half     bool // results are of bfloat16
	Leaky    bool
	Clip     bool
	Gelu     bool // x·Φ(x), to 3e-4 of itself or of 0.01, after all else
	Resume   bool // of one row tile and panel: the sums begin with those of Sums
	Hold     bool // of one row tile and panel: the sums stay in Sums and nothing is finished
}

// A RowTile is where a row tile is. The first rows of one may have been finished
// with the tile before.
type RowTile struct {
	A    int // bytes from Strip.A
	Rows int // to finish, at least 1
	Skip int // bytes of sums before them
	C    int // bytes from Dst to where they go
	R    int // the same of Residual
	Row  int // the same of RowBias
}

// StripSums is the bytes of the sums of two row tiles.
const StripSums = 2 * rowTileSums

const rowTileSums = 4 * Rows * Cols

// Bits of Strip.flags beyond those of Finish.
const (
	flagHalf = flagClip << (1 + iota)
	flagResume
	flagHold
)

// SetRows sets the rows of a row tile, from 1 to 32.
func (s *Strip) SetRows(n int) { s.rows, s.config = n, &whole[n] }

// Fetch makes the next call fetch panels, those of next, while it multiplies.
func (s *Strip) Fetch(next []byte) {
	s.next, s.nextRuns = nil, len(next)/NextRun
	if s.nextRuns > 0 {
		s.next = unsafe.Pointer(&next[0])
	}
}

// Fetched gives what is left of next when the call has been made.
func (s *Strip) Fetched(next []byte) []byte { return next[len(next)-s.nextRuns*NextRun:] }

// Strip does it.
func (k *Kernels) Strip(s *Strip) {
	s.flags = bit(s.ColBias != nil, flagColBias) | bit(s.RowBias != nil, flagRowBias) | bit(s.Residual != nil, flagResidual) |
		bit(s.Leaky, flagLeaky) | bit(s.Clip, flagClip) | bit(s.Half, flagHalf) | bit(s.Resume, flagResume) | bit(s.Hold, flagHold)
	s.stepRows = (s.rows + s.Steps - 1) / s.Steps
	s.stepRuns = max(1, StepB/NextRun/s.Tiles)
	k.strip[bit(s.Gelu, 1)][(s.rows-1)/16]((*byte)(unsafe.Pointer(s)))
}

func (sum sum) strip(t *byte) {
	s := (*Strip)(unsafe.Pointer(t))
	at := func(p unsafe.Pointer, bytes int) unsafe.Pointer {
		if p == nil {
			return nil
		}
		return unsafe.Add(p, bytes)
	}
	for p := range s.Panels {
		for _, r := range unsafe.Slice(s.RowTiles, s.Tiles) {
			b := Block{C: s.Sums, Offsets: unsafe.Pointer(&contiguous), Steps: 1, LDA: s.LDA, LDC: 4 * Cols, Panels: 1, Tiles: 1, config: s.config, rows: s.rows}
			for i := range s.Steps {
				b.A, b.B, b.Add = unsafe.Add(s.A, r.A+i*s.StepA), unsafe.Add(s.B, (p*s.Steps+i)*StepB), int(bit(s.Resume || i > 0, 1))
				sum.bf16((*byte)(unsafe.Pointer(&b)))
			}
			if s.Hold {
				continue
			}
			f := Finish{Src: unsafe.Add(s.Sums, r.Skip), Residual: at(s.Residual, r.R+128*p), ColBias: at(s.ColBias, 128*p), RowBias: at(s.RowBias, r.Row),
				LDR: s.LDR, Rows: r.Rows, Alpha: s.Alpha, Beta: s.Beta, Lo: s.Lo, Hi: s.Hi, Slope: s.Slope, flags: s.flags, HalfR: 64}
			s.finishPortable(&f, unsafe.Add(s.Dst, r.C+p*s.PanelC), min(Cols, s.Columns-p*Cols))
		}
	}
}

func (s *Strip) finishPortable(f *Finish, dst unsafe.Pointer, columns int) {
	for i := range f.Rows {
		sums := view[float32](unsafe.Add(f.Src, i*4*Cols), Cols)
		for j := range columns {
			x := f.element(i, j, sums[j])
			if s.Gelu {
				x = float32(float64(x) * math.Erfc(-float64(x)/math.Sqrt2) / 2)
			}
			if s.Half {
				*(*uint16)(unsafe.Add(dst, i*s.LDC+2*j)) = Round(x)
			} else {
				*(*float32)(unsafe.Add(dst, i*s.LDC+4*j)) = x
			}
		}
	}
}
