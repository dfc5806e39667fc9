package qconv

import (
	"fmt"
	"unsafe"
)

// packing describes packed weights: a header of 64 bytes, then the panels. A
// panel has the sums' starts (int32) and the scales of its channels, then for
// each row and column of taps groups of four bytes for each channel. For a row of
// adjacent taps that is one tap. Depthwise panels have an int32 for each tap and
// channel instead. Where weights have parts, each row of taps is followed by
// itself with the next parts.
type packing struct {
	p      Params
	kern   *kernels
	taps   int // rows times separate columns of taps
	run    int // adjacent bytes of a tap
	groups int // of four of these
	panels []panel
	bytes  int
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
			if n > most {
				x.channels, x.vectors = wide, wideChannels/kern.lanes
			}
			k.panels = append(k.panels, x)
			k.bytes += k.panelBytes(x)
		}
	}
	return k
}

// wideChannels is the channels of a panel that one depthwise kernel computes.
const wideChannels = 64

// channelKernels gives the kernels for 64 channels, if there are any for this
// layer.
func (p Params) channelKernels(kern *kernels) *[5]kernel {
	if !p.depthwise() || p.Kernel[0] != p.Kernel[1] || p.Dilation[1] != 1 || p.Residual != nil || p.Parts > 1 {
		return nil
	}
	k, ok := kern.channels[[2]int{p.Kernel[0], p.Stride[1]}]
	if !ok {
		return nil
	}
	return &k
}

func (k *packing) panelBytes(x panel) int {
	channels := x.vectors * k.kern.lanes
	if x.channels != nil {
		return align(channels * 4 * (2 + (k.p.Kernel[0]+3)/4*k.p.Kernel[1]))
	}
	if k.p.depthwise() {
		return align(channels * 4 * (2 + k.p.Kernel[0]*k.p.Kernel[1]))
	}
	return align(channels * 4 * (2 + k.taps*k.groups))
}

func align(n int) int { return (n + 63) &^ 63 }

// Weights are what is packed.
type Weights struct {
	Data  []int16   // [Out, In/Groups, kernel…], each in the range of its parts
	Scale []float32 // what a sum is multiplied with: one, or one for each output channel
	Bias  []int32   // one for each output channel, or nil
}

func (k *packing) check(w Weights) error {
	if len(w.Data) != k.p.WeightCount() {
		return fmt.Errorf("qconv: expected %d weights for %d→%d channels, groups %d, kernel %v, found %d",
			k.p.WeightCount(), k.p.In, k.p.Out, k.p.Groups, k.p.Kernel, len(w.Data))
	}
	for _, v := range w.Data {
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

// pack fills dst, whose length is k.bytes.
func (k *packing) pack(dst []byte, w Weights) error {
	if err := k.check(w); err != nil {
		return err
	}
	if len(dst) != k.bytes {
		return fmt.Errorf("qconv: packed weights need %d bytes, the buffer has %d", k.bytes, len(dst))
	}
	clear(dst)
	dst[0] = 1
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
			bias[at] -= unsignedZero(k.p.Input) * k.packChannel(body, w.Data, x, lanes, c)
		}
		if !k.p.depthwise() && !pairsFit(body) {
			dst[0] = 0
		}
	}
	return nil
}

// interleaved is where the sums of channel c of 64 are: a quarter of a register
// holds four of its quarter's channels.
func interleaved(c int) int { return c%16/4*16 + c/16*4 + c%4 }

// unsignedZero is the zero point of the input as the kernels see it: unsigned.
func unsignedZero(f Format) int32 {
	if f.Signed {
		return f.Zero + 128
	}
	return f.Zero
}

// packChannel writes the weights of channel c of a panel, and gives their sum.
func (k *packing) packChannel(dst []byte, w []int16, x panel, lanes, c int) (sum int32) {
	taps := k.p.Kernel[0] * k.p.Kernel[1]
	per := k.p.In / k.p.Groups
	src := w[(x.first+c)*per*taps:][:per*taps]
	for i, v := range src {
		sum += int32(v)
		ch, tap := i/taps, i%taps
		if x.channels != nil {
			row, col := tap/k.p.Kernel[1], tap%k.p.Kernel[1]
			dst[((row/4*k.p.Kernel[1]+col)*lanes+interleaved(c))*4+row%4] = byte(v)
			continue
		}
		if k.p.depthwise() {
			view[int32](unsafe.Pointer(&dst[0]), (tap+1)*lanes)[tap*lanes+c] = int32(v)
			continue
		}
		place := tap*k.groups*4 + ch // in a channel's bytes, were these adjacent
		if k.p.adjacent() {
			place = tap/k.p.Kernel[1]*k.p.Parts*k.groups*4 + tap%k.p.Kernel[1]*per + ch
		}
		for range k.p.Parts {
			part := min(max(v, -128), 127)
			dst[(place/4*lanes+c)*4+place%4] = byte(part)
			v -= part
			place += k.groups * 4
		}
	}
	return sum
}

// pairsFit reports whether two products of an unsigned byte and neighbouring
// weights always add up to 16 bits.
func pairsFit(w []byte) bool {
	for i := 0; i+1 < len(w); i += 2 {
		a, b := int(int8(w[i])), int(int8(w[i+1]))
		if max(a, -a)+max(b, -b) > 128 {
			return false
		}
	}
	return true
}
