package conv

import "github.com/salver-ml/salver/internal/cpu"

// Algorithm is a way to compute a convolution; it decides the layouts.
type Algorithm uint8

const (
	Direct         Algorithm = iota // blocked to blocked
	Pointwise                       // 1×1 of stride 1 without padding, blocked to blocked, over flattened pixels
	PlainInput                      // plain input of few channels to blocked
	Depthwise                       // one channel per group, blocked to blocked
	Plain                           // plain to plain: any number of dimensions, any groups
	Taps                            // blocked to blocked, one tap of the kernel after the other: see tapsPay
	Winograd                        // 3×3 of stride 1, blocked to blocked, where Params allows it
	WinogradVolume                  // the same of a volume, plain to plain
)

var algorithmNames = [...]string{"direct", "pointwise", "plain-input", "depthwise", "plain", "taps", "winograd", "winograd-volume"}

// String is the name that reports use.
func (a Algorithm) String() string { return algorithmNames[a] }

// InBlocked says whether the input is in blocked layout.
func (a Algorithm) InBlocked() bool { return a != PlainInput && a.OutBlocked() }

// OutBlocked says whether output and residual are in blocked layout.
func (a Algorithm) OutBlocked() bool { return a != Plain && a != WinogradVolume }

// Block is the number of channels in a block: a vector register of floats.
func Block(level cpu.Target) int {
	if level >= cpu.AVX512 {
		return 16
	}
	return 8
}

// fewChannels is the most input channels that are read in plain layout: the
// input of a network is plain, and padding 3 channels to 16 costs five times
// the work. Where the outputs are few too, they are not brought into blocks either: of three layers 3→3 at 224²
// each takes 115 µs with the planar kernels, not 520.
const fewChannels = 4

// Choose picks the algorithm from the layer alone. New replaces Direct by
// Winograd where Params asks for that, and by Taps where planes are small.
//
// Measured on one Xeon core whose peak was 172 to 195 GFLOP/s with AVX-512 and
// 92 to 96 with AVX2 at that time (BenchmarkResNet50Layers, …MobileNetV2Layers,
// …OtherLayers), in GFLOP/s counting the padding:
//
//	                              AVX-512  AVX2
//	direct 3×3 64→64 at 56²           194    92
//	direct 3×3 256→256 at 14²         199    96
//	direct 3×3 512→512 at 7²          196    92
//	pointwise 64→256 at 56²           182    91
//	pointwise 1024→256 at 14²         188    92
//	plain-input 7×7/2 3→64 at 224²    189    94
//	depthwise 3×3 576 at 14²           95    61
//	plain 1-D k3 384→96 at 500        179    91
//	groups of 4 in a block, 3×3        46    46
//	winograd 3×3 64→64 at 56²         551   293
func Choose(p Params, level cpu.Target) Algorithm {
	b, g := Block(level), max(p.Groups, 1)
	depthwise := g > 1 && g == p.In && g == p.Out
	switch {
	case len(p.Kernel) == 3 && depthwise && !p.Residual:
		return Depthwise
	case len(p.Kernel) != 2:
		return Plain
	case g == 1 && p.In <= fewChannels && atOr1(p.Dilation, 1) == 1 && !planarFits(p, level):
		return PlainInput
	case g > 1 && g == p.In && g == p.Out:
		return Depthwise
	case spansBlocks(p, b):
		return Direct
	case planarFits(p, level):
		return Plain
	case halfGroups(p, level):
		return Direct
	case g > 1 && (p.In/g%b != 0 || p.Out/g%b != 0) && !sharesBlocks(p, b):
		return Plain
	case isPointwise(p):
		return Pointwise
	}
	return Direct
}

// blockedSum says whether the kernels read the input in blocks. Plain input of
// enough channels is brought into that form first: channels that lie a plane
// apart, and short runs of taps, cost more. With AVX2 and one-dimensional
// kernels, 384→384 of width 1 goes from 59 to 83 GF, 384→96 of width 3 from 79
// to 88.
func blockedSum(p Params, a Algorithm, block int) bool {
	return a.InBlocked() || a == WinogradVolume || a == Plain && p.In/p.Groups*4 >= block*3
}

// sharesBlocks is true for groups that fill whole blocks together and give as
// many channels as they take: a block of outputs needs one block of inputs, and
// its weights are zeros between groups. That wastes block/size of the products,
// no more than computing each group in a block of its own would.
func sharesBlocks(p Params, block int) bool {
	size := p.In / max(p.Groups, 1)
	return p.Groups > 1 && p.In == p.Out && size < block && block%size == 0
}

func isPointwise(p Params) bool {
	return product(p.Kernel) == 1 && (p.Stride == nil || product(p.Stride) == 1) && sum(p.Pads) == 0
}

func atOr1(v []int, i int) int {
	if v == nil {
		return 1
	}
	return v[i]
}

func sum(v []int) int {
	n := 0
	for _, x := range v {
		n += x
	}
	return n
}

// Packing names the order of packed weights: algorithms of the same name share
// them.
func (a Algorithm) Packing() string {
	if a == Pointwise {
		a = Direct
	}
	return a.String()
}
