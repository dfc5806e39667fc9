package conv

import "github.com/salver-ml/salver/internal/pool"

// Run converts n images from src into dst.
func (r *Reorder) Run(p *pool.Pool, n int, dst, src []float32) {
	r.plain, r.blocked = src, dst
	if !r.toBlocked {
		r.plain, r.blocked = dst, src
	}
	p.Run(n*blocks(r.c, r.block), r)
	r.plain, r.blocked = nil, nil
}

// Do converts one channel block of one image.
func (r *Reorder) Do(i int) {
	per := blocks(r.c, r.block)
	image, b := i/per, i%per
	first := b * r.block
	channels := min(r.block, r.c-first)
	plain := r.plain[(image*r.c+first)*r.plane:][:channels*r.plane]
	blocked := r.blocked[i*r.plane*r.block:][:r.plane*r.block]
	if r.toBlocked {
		interleave(blocked, plain, channels, r.plane, r.block)
	} else {
		deinterleave(plain, blocked, channels, r.plane, r.block)
	}
}

// interleave writes channel rows of plain as the columns of blocked, and zeros
// beyond the channels.
func interleave(blocked, plain []float32, channels, plane, block int) {
	if channels < block {
		clear(blocked)
	}
	for c := range channels {
		for j, v := range plain[c*plane : (c+1)*plane] {
			blocked[j*block+c] = v
		}
	}
}

func deinterleave(plain, blocked []float32, channels, plane, block int) {
	for c := range channels {
		row := plain[c*plane : (c+1)*plane]
		for j := range row {
			row[j] = blocked[j*block+c]
		}
	}
}
