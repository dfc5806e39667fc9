package mma

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// Sizes of blocks.
const (
	Rows      = 32   // the most rows of a block
	Cols      = 32   // columns of a panel
	StepBytes = 64   // of a row of A
	StepB     = 2048 // bytes of a panel of B
	NextRun   = 512  // bytes that are fetched together
	StepBF16  = 32   // numbers of k
	StepInt8  = 64

	// MaxSteps bounds the steps of a call, those of all its panels together: about
	// 50 µs.
	MaxSteps = 1024
)

// A Block is the argument of a kernel: C = A·B, or C += A·B. No bounds are
// checked. The assembly knows the offsets of its fields.
type Block struct {
	A        unsafe.Pointer // row 0
	B        unsafe.Pointer // the first panel; on a cache line is best
	C        unsafe.Pointer // float32; whole panels are written
	Offsets  unsafe.Pointer // of each step: bytes from A, as int
	Steps    int            // at least 1
	LDA      int            // bytes from row to row
	LDC      int
	Panels   int            // at least 1
	SkipB    int            // bytes between the last step of a panel and the next panel
	PanelC   int            // bytes from one panel to the next
	Add      int            // 1: add to C
	next     unsafe.Pointer // nil, or what steps fetch into the second-level cache: see Fetch
	config   *config
	Tiles    int // row tiles of that many rows each; 0 stands for 1
	TileA    int // bytes from one to the next
	TileC    int
	nextRuns int // of 512 bytes, that a step fetches

	Narrow    int      // 1: of the last panel only 16 columns are computed
	AheadRuns int      // of 512 bytes, that a row tile fetches of each of Ahead; 0: none
	Ahead     [4]Ahead // what the sums will meet: the first two are going to be written
	rows      int

	Gap int // bytes between one panel and the next, for Contiguous and At
}

// Ahead is memory that is fetched into the first-level cache while a block is
// multiplied.
type Ahead struct {
	From uintptr // for the first panel; 0: nothing
	Skip int     // bytes from the end of what is fetched for a panel to the next one's beginning
}

// config is what LDTILECFG loads.
type config struct {
	palette, startRow uint8
	_                 [14]uint8
	colBytes          [16]uint16
	rows              [16]uint8
}

// Configs are the configurations of blocks by their rows, for steps of one size.
type Configs [Rows + 1]config

// NewConfigs makes those for steps of n bytes, a multiple of 4 up to 64: of the 16
// rows of a step of B only the first n/4 are read.
func NewConfigs(n int) *Configs {
	c := &Configs{}
	for rows := 1; rows <= Rows; rows++ {
		x := &c[rows]
		x.palette = 1
		near, far := min(rows, 16), max(rows-16, 0)
		for i, t := range [8][2]int{{near, 64}, {near, 64}, {far, 64}, {far, 64}, {near, n}, {far, n}, {n / 4, 64}, {n / 4, 64}} {
			if t[0] > 0 {
				x.rows[i], x.colBytes[i] = uint8(t[0]), uint16(t[1])
			}
		}
	}
	return c
}

var whole = NewConfigs(StepBytes)

// SetRows sets the number of rows, from 1 to 32.
func (b *Block) SetRows(n int) { b.Configure(whole, n) }

// Configure is SetRows for steps of another size.
func (b *Block) Configure(c *Configs, rows int) { b.rows, b.config = rows, &c[rows] }

// contiguous are the offsets of a row whose steps follow each other.
var contiguous = func() (c [MaxSteps]int) {
	for i := range c {
		c[i] = i * StepBytes
	}
	return c
}()

// Fetch makes the next call, of so many steps in all, fetch the first part of next
// into the second-level cache, and gives the rest. It is one of calls that share
// the work. Without any next it fetches nothing.
func (b *Block) Fetch(next []byte, steps, calls int) []byte {
	b.nextRuns = max(1, StepB/NextRun/max(calls, 1))
	size := steps * b.nextRuns * NextRun
	if size == 0 || len(next) < size {
		b.next = nil
		return nil
	}
	b.next = unsafe.Pointer(&next[0])
	return next[size:]
}

// Kernels are those of a level.
type Kernels struct {
	multiply [2]func(t *byte) // of a *Block: up to 16 rows, up to 32

	// round rounds floats to bfloat16.
	round func(dst *uint16, src *float32, n int)
	// pairs interleaves pairs of rows.
	pairs func(dst *uint16, src *float32, stride, pairs, n int)
	// finish takes a *Finish.
	finish func(t *byte)
	// strip takes a *Strip: without GELU and with; up to 16 rows, up to 32.
	strip [2][2]func(t *byte)
	// conv takes a *Conv: without SiLU and with; up to 16 rows, up to 32.
	conv [2][2]func(t *byte)
	// blocks and planes bring pixels together.
	blocks func(dst *uint16, lo, hi *float32, n, step int)
	planes func(dst *uint16, p0, p1, p2, p3 *float32, n int)
	halves func(dst, lo, hi *uint16, n, step int)
	// pixels and pixelsSilu take a *Pixels.
	pixels, pixelsSilu func(t *byte)
	// maximum is that of windows.
	maximum func(dst, src *uint16, taps *int, count, n, step int)
	// depthwise takes a *Depthwise.
	depthwise func(t *byte)
	widen     func(dst *float32, src *uint16, left, n, right, rows, step int)
}

// Available reports whether products of bfloat16 are faster than those of float32 at the
// level in force.
func Available() bool { return cpu.Level() >= cpu.AMX || cpu.Has().FastBF16 }

// Supports reports whether a level has more than portable kernels.
func Supports(level cpu.Target) bool {
	return level >= cpu.AMX || level >= cpu.AVX512 && cpu.Has().AVX512BF16
}

// Multiply computes a block.
func (k *Kernels) Multiply(b *Block) {
	b.Tiles = max(b.Tiles, 1)
	k.multiply[(b.rows-1)/16]((*byte)(unsafe.Pointer(b)))
}

// Contiguous computes a block whose rows of A and panels of B have so many steps,
// one after the other. More than MaxSteps are cut along K.
func (k *Kernels) Contiguous(b *Block, steps int) {
	b.Offsets = unsafe.Pointer(&contiguous)
	a, panels, add := b.A, b.B, b.Add
	for at := 0; at < steps; at += MaxSteps {
		b.A = unsafe.Add(a, at*StepBytes)
		k.part(b, panels, steps, at)
	}
	b.A, b.B, b.Add = a, panels, add
}

// At computes a block whose steps are at offsets. More than MaxSteps are cut
// along K.
func (k *Kernels) At(b *Block, offsets []int) {
	panels, add := b.B, b.Add
	for at := 0; at < len(offsets); at += MaxSteps {
		b.Offsets = unsafe.Pointer(&offsets[at])
		k.part(b, panels, len(offsets), at)
	}
	b.B, b.Add = panels, add
}

// part computes up to MaxSteps steps from number at, and makes the next part
// continue. Pointers never leave what they point to: the collector looks at them.
func (k *Kernels) part(b *Block, panels unsafe.Pointer, steps, at int) {
	b.Steps = min(MaxSteps, steps-at)
	b.SkipB = (steps-b.Steps)*StepB + b.Gap
	b.B = unsafe.Add(panels, at*StepB)
	k.Multiply(b)
	b.Add = 1
}

// Round rounds src to bfloat16; dst is as long.
func (k *Kernels) Round(dst []uint16, src []float32) {
	if len(src) > 0 {
		k.round(&dst[:len(src)][0], &src[0], len(src))
	}
}

// Pairs packs rows 2i and 2i+1 of a matrix of n ≤ 32 columns, of which there are
// 2·pairs rows a stride apart, for a panel of B: dst has 64·pairs elements.
func (k *Kernels) Pairs(dst []uint16, src []float32, stride, pairs, n int) {
	if pairs > 0 {
		_, _ = dst[64*pairs-1], src[(2*pairs-1)*stride+n-1]
		k.pairs(&dst[0], &src[0], 4*stride, pairs, n)
	}
}

// Blocks rounds n pixels, step floats apart, of two blocks of 16 channels, which
// lie in lo and hi, to pixels of 32; hi may be nil and stands for zeros then.
func (k *Kernels) Blocks(dst []uint16, lo, hi []float32, n, step int) {
	if n == 0 {
		return
	}
	_, _ = dst[32*n-1], lo[(n-1)*step+15]
	var second *float32
	if hi != nil {
		_ = hi[(n-1)*step+15]
		second = &hi[0]
	}
	k.blocks(&dst[0], &lo[0], second, n, 4*step)
}

// Planes rounds n pixels of up to four planes to pixels of four channels. Channels
// without a plane are zeros.
func (k *Kernels) Planes(dst []uint16, planes *[4][]float32, n int) {
	if n == 0 {
		return
	}
	_ = dst[4*n-1]
	var p [4]*float32
	for i, s := range planes {
		if s != nil {
			_ = s[n-1]
			p[i] = &s[0]
		}
	}
	k.planes(&dst[0], p[0], p[1], p[2], p[3], n)
}
