//go:build !noasm

package transpose

import "unsafe"

// colours transposes between pixels of three bytes without a gap and planes of each colour; other tiles are rest's.
func colours(rest tileFunc) tileFunc {
	return func(dst, src unsafe.Pointer, ds, ss, h, w int) {
		switch {
		case w == 3 && ss == 3 && h >= pixelBlock:
			inPixelBlocks(unweave3AVX2, dst, src, 1, 3, ds, h)
		case h == 3 && ds == 3 && w >= pixelBlock:
			inPixelBlocks(weave3AVX2, dst, src, 3, 1, ss, w)
		default:
			rest(dst, src, ds, ss, h, w)
		}
	}
}

// pixelBlock is how many pixels a kernel takes at once, pixelCall how many it gets in a call, which can't be preempted.
const pixelBlock, pixelCall = 16, 32 << 10

// inPixelBlocks calls f for n pixels, of which a step has so many bytes in dst and src; the last block has some once more.
func inPixelBlocks(f func(dst, src *byte, plane, blocks int), dst, src unsafe.Pointer, write, read, plane, n int) {
	for at := 0; at < n; {
		at = min(at, n-pixelBlock)
		pixels := min(n-at, pixelCall) / pixelBlock * pixelBlock
		f((*byte)(unsafe.Add(dst, at*write)), (*byte)(unsafe.Add(src, at*read)), plane, pixels/pixelBlock)
		at += pixels
	}
}
