package qconv

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
)

// packing describes packed weights: a header of 64 bytes, then the panels. A
// panel has the sums' starts (int32) and the scales of its channels, then for
// each row and column of taps groups of four bytes for each channel. For a row of
// adjacent taps that is one tap. Depthwise panels have an int32 for each tap and
// channel instead, or columnWords for each column of three taps. Where weights have parts, each row of taps is followed by
// itself with the next parts.
type packing struct {
	p      Params
	kern   *kernels
	taps   int // rows times separate columns of taps
	run    int // adjacent bytes of a tap
	groups int // of four of these
	panels []panel
	bytes  int

	tiled bool // groups are whole steps of tiles, and panels have 32 channels
}

// adjacent is true where the taps of a row are one run of bytes.
func (p Params) adjacent() bool { return p.Groups == 1 && p.Dilation[1] == 1 }

// panel is the output channels of one or two vectors.
type panel struct {
	group    int // of the convolution
	first, n int // channels
	vectors  int
	at       int        // bytes into the packed weights
	in       int        // bytes into a pixel's input
	channels *[5]kernel // of a depthwise panel of up to 64 channels
}

const headerBytes = 64

func newPacking(p Params, kern *kernels) *packing {
	k := &packing{p: p, kern: kern, taps: p.Kernel[0] * p.Kernel[1], run: p.In / p.Groups}
	if p.adjacent() {
		k.taps, k.run = p.Kernel[0]*p.Parts, p.Kernel[1]*p.In
	}
	k.groups = (k.run + 3) / 4
	steps := (k.run + mma.StepInt8 - 1) / mma.StepInt8
	if k.tiled = kern.strip[0][0] != nil && p.Groups == 1 && k.taps*steps <= maxSteps; k.tiled {
		k.groups = steps * mma.StepInt8 / 4
	}
	k.bytes = headerBytes
	per, most := p.Out/p.Groups, 2*kern.lanes
	groups := p.Groups
	if p.depthwise() {
		per, most, groups = p.Out, kern.lanes, 1
	}
	wide := p.channelKernels(kern)
	for g := range groups {
		for c, n := 0, 0; c < per; c += n {
			n = min(most, per-c)
			if wide != nil && per-c > kern.lanes {
				n = min(wideChannels, per-c)
			}
			x := panel{group: g, first: g*per + c, n: n, vectors: (n + kern.lanes - 1) / kern.lanes, at: k.bytes, in: g * p.In / p.Groups}
			if p.depthwise() {
				x.in = c
			}
			if k.tiled {
				x.vectors = 2
			}
			if n > most {
				x.channels, x.vectors = wide, wideChannels/kern.lanes
			}
			k.panels = append(k.panels, x)
			k.bytes += k.panelBytes(x)
		}
	}
	if k.mayClip() {
		k.bytes += k.spillsSize()
	}
	return k
}

// flat says that the pixels of all images are one row.
func (p *Params) flat() bool {
	return p.Kernel[0]*p.Kernel[1] == 1 && p.Stride[0]*p.Stride[1] == 1 && p.Pads[0]+p.Pads[1]+p.Pads[2]+p.Pads[3] == 0
}

// wideChannels is the channels of a panel that one depthwise kernel computes.
const wideChannels = 64

// channelKernels gives the kernels for 64 channels, if there are any for this
// layer.
func (p Params) channelKernels(kern *kernels) *[5]kernel {
	if !p.depthwise() || p.Kernel[0] != p.Kernel[1] || p.Dilation[1] != 1 || p.Residual != nil || p.Parts > 1 {
		return nil
	}
	k, ok := kern.depthwise64[[2]int{p.Kernel[0], p.Stride[1]}]
	if !ok {
		return nil
	}
	return &k
}

// columns says whether depthwise kernels share columns of the input.
func (k *packing) columns() bool {
	p := &k.p
	return p.depthwise() && p.Kernel[0] == 3 && p.Kernel[1] == 3 && p.Dilation[1] == 1 &&
		p.Stride[1] <= len(k.kern.columns) && k.kern.columns[p.Stride[1]-1][1] != nil
}

// columnWords is the double words of a channel's column of three taps: the first two are in
// one, the third in the other.
const columnWords = 2

func (k *packing) panelBytes(x panel) int {
	channels := x.vectors * k.kern.lanes
	if x.channels != nil {
		return align(channels * 4 * (2 + (k.p.Kernel[0]+3)/4*k.p.Kernel[1]))
	}
	if k.columns() {
		return align(channels * 4 * (2 + columnWords*k.p.Kernel[1]))
	}
	if k.p.depthwise() {
		return align(channels * 4 * (2 + k.p.Kernel[0]*k.p.Kernel[1]))
	}
	return align(channels * 4 * (2 + k.taps*k.groups))
}

func align(n int) int { return (n + 63) &^ 63 }

// Weights are what is packed.
type Weights struct {
	Data  []int8    // [Out, In/Groups, kernel…]
	Wide  []int16   // the same, in place of Data, of several parts
	Scale []float32 // what a sum is multiplied with: one, or one for each output channel
	Bias  []int32   // one for each output channel, or nil
}

// at is weight i.
func (w *Weights) at(i int) int {
	if w.Wide != nil {
		return int(w.Wide[i])
	}
	return int(w.Data[i])
}

func (k *packing) check(w Weights) error {
	if n := len(w.Data) + len(w.Wide); n != k.p.WeightCount() || w.Data != nil && w.Wide != nil {
		return fmt.Errorf("qconv: expected %d weights for %d→%d channels, groups %d, kernel %v, found %d",
			k.p.WeightCount(), k.p.In, k.p.Out, k.p.Groups, k.p.Kernel, n)
	}
	for _, v := range w.Wide {
		if int(v) < -128*k.p.Parts || int(v) > 127*k.p.Parts {
			return fmt.Errorf("qconv: weight %d, expected the sum of %d int8", v, k.p.Parts)
		}
	}
	if n := len(w.Scale); n != 1 && n != k.p.Out {
		return fmt.Errorf("qconv: expected 1 or %d scales, found %d", k.p.Out, n)
	}
	if n := len(w.Bias); n != 0 && n != k.p.Out {
		return fmt.Errorf("qconv: expected a bias of %d numbers, found %d", k.p.Out, n)
	}
	return nil
}

// What packed weights begin with.
const (
	packedPairs   = 1 // no two products of a pair saturate 16 bits
	packedClipped = 3 // after they were clipped
	packedSquares = 2 // weights are transformed for tiles of 4×4 outputs
)

// pack fills dst, which is zeros and has k.bytes or more.
func (k *packing) pack(dst []byte, w Weights) {
	dst[0] = packedPairs
	for _, x := range k.panels {
		lanes := x.vectors * k.kern.lanes
		head := dst[x.at:]
		bias, scale := view[int32](unsafe.Pointer(&head[0]), lanes), view[float32](unsafe.Pointer(&head[4*lanes]), lanes)
		body := head[8*lanes : k.panelBytes(x)]
		for c := range x.n {
			at := c
			if x.channels != nil {
				at = interleaved(c)
			}
			scale[at] = w.Scale[(x.first+c)%len(w.Scale)]
			if w.Bias != nil {
				bias[at] = w.Bias[x.first+c]
			}
			bias[at] -= k.zero() * k.packChannel(body, &w, x, lanes, c)
		}
		if k.innerMayDo() && !pairsFit(body) {
			dst[0] = 0
		}
	}
	if dst[0] == 0 && k.mayClip() && k.clip(dst) {
		dst[0] = packedClipped
	}
	if k.innerMayDo() && dst[0] == 0 {
		for _, x := range k.panels {
			lanes := x.vectors * k.kern.lanes
			innerGroups(dst[x.at:][8*lanes:k.panelBytes(x)], view[int32](unsafe.Pointer(&dst[x.at]), lanes))
		}
	}
}

// innerMayDo says whether the layer is computed by inner products of sums if pairs of
// weights don't fit VPMADDUBSW. The packed weights' first byte says whether they do.
func (k *packing) innerMayDo() bool { return k.kern.innerSums != nil && !k.p.depthwise() }

// innerGroups has the first and the third weight of a group, and the other two, in one word
// of 16 bits, with 128 added to each, and takes their products from the sums' starts, one for
// each of a panel's channels.
func innerGroups(body []byte, starts []int32) {
	for ; len(body) >= 4*len(starts); body = body[4*len(starts):] {
		for c := range starts {
			w := body[4*c:][:4]
			starts[c] -= int32(int8(w[0]))*int32(int8(w[2])) + int32(int8(w[1]))*int32(int8(w[3]))
			w[0], w[1], w[2], w[3] = w[0]^0x80, w[2]^0x80, w[1]^0x80, w[3]^0x80
		}
	}
}

// interleaved is where the sums of channel c of 64 are: a quarter of a register
// holds four of its quarter's channels.
func interleaved(c int) int { return c%16/4*16 + c/16*4 + c%4 }

// zero is the zero point of the input as the kernels see it: tiles take signed
// numbers as they are, the others unsigned ones only.
func (k *packing) zero() int32 {
	if k.tiled {
		return k.p.Input.Zero
	}
	return unsignedZero(k.p.Input)
}

// unsignedZero is the zero point of an input that is made unsigned.
func unsignedZero(f Format) int32 {
	if f.Signed {
		return f.Zero + 128
	}
	return f.Zero
}

// packChannel writes the weights of channel c of a panel, and gives their sum.
func (k *packing) packChannel(dst []byte, w *Weights, x panel, lanes, c int) (sum int32) {
	rows, cols := k.p.Kernel[0], k.p.Kernel[1]
	per := k.p.In / k.p.Groups
	first := (x.first + c) * per * rows * cols
	for row := range rows {
		for col := range cols {
			switch tap := row*cols + col; {
			case x.channels != nil:
				v := w.at(first + tap)
				sum += int32(v)
				dst[((row/4*cols+col)*lanes+interleaved(c))*4+row%4] = byte(v)
			case k.columns():
				v := w.at(first + tap)
				sum += int32(v)
				word := (columnWords*col+row/2)*lanes + c
				binary.NativeEndian.PutUint16(dst[4*word+row%2*2:], uint16(v))
			case k.p.depthwise():
				v := int32(w.at(first + tap))
				sum += v
				binary.NativeEndian.PutUint32(dst[(tap*lanes+c)*4:], uint32(v))
			default:
				place := tap * k.groups * 4 // in a channel's bytes, were these adjacent
				if k.p.adjacent() {
					place = row*k.p.Parts*k.groups*4 + col*per
				}
				sum += k.packTap(dst, w, first+tap, place, lanes, c)
			}
		}
	}
	return sum
}

// packTap writes the weights of a tap for all input channels, the first of which
// is weight number at, from a place in channel c's bytes on.
func (k *packing) packTap(dst []byte, w *Weights, at, place, lanes, c int) (sum int32) {
	taps, n := k.p.Kernel[0]*k.p.Kernel[1], k.p.In/k.p.Groups
	if w.Data != nil && place%4 == 0 {
		whole := n / 4
		sum = scatter(dst[(place*lanes+4*c):], 4*lanes, w.Data[at:], taps, whole)
		at, place, n = at+4*whole*taps, place+4*whole, n-4*whole
	}
	for range n {
		v := w.at(at)
		sum += int32(v)
		for p, part := place, 0; part < k.p.Parts; part++ {
			low := min(max(v, -128), 127)
			dst[(p/4*lanes+c)*4+p%4] = byte(low)
			v -= low
			p += k.groups * 4
		}
		at += taps
		place++
	}
	return sum
}

// scatter writes n groups of four weights a stride apart, and gives their sum. The
// weights are step apart in src.
func scatter(dst []byte, stride int, src []int8, step, n int) (sum int32) {
	for at, i := 0, 0; i < 4*n*step; i += 4 * step {
		a, b, c, d := src[i], src[i+step], src[i+2*step], src[i+3*step]
		sum += int32(a) + int32(b) + int32(c) + int32(d)
		binary.LittleEndian.PutUint32(dst[at:], uint32(uint8(a))|uint32(uint8(b))<<8|uint32(uint8(c))<<16|uint32(uint8(d))<<24)
		at += stride
	}
	return sum
}

// pairsFit reports whether two products of an unsigned byte and neighbouring
// weights always add up to 16 bits.
func pairsFit(w []byte) bool {
	for i := 0; i+1 < len(w); i += 2 {
		a, b := int(int8(w[i])), int(int8(w[i+1]))
		if max(a, 0)+max(b, 0) > 128 || min(a, 0)+min(b, 0) < -128 {
			return false
		}
	}
	return true
}
