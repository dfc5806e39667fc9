package conv

// chunk is a part of the work: an area of the output planes of one image and
// one run of output blocks (depthwise: one block); for plain output one depth.
type chunk struct {
	image, depth, group int
	area                area
}

// cut says how the work is divided: parts of an output plane, each for all
// groups in turn, so that the part's input stays in the cache.
type cut struct {
	images, depths, groups, parts int
	rows, cols                    int // of a plane
	step                          int // rows of a part; columns where the plane is one row
}

// Input bytes of a part: with the weights of a run of output blocks they stay
// in a second-level cache of 512 KiB or more.
const partBytes = 256 << 10

// chunksPerThread lets threads that are slower, or late, do less.
const chunksPerThread = 4

// cutFor divides n images for a number of threads.
func (pl *Plan) cutFor(n, threads int) cut {
	g := &pl.grid
	c := cut{images: n, depths: pl.depth.Out, groups: len(pl.groupsOf), rows: g.h.Out, cols: g.w.Out}
	bytes := pl.inBlocks * g.inRow * g.h.Stride
	if pl.algorithm == Depthwise {
		c.groups = pl.packed.outBlocks
		bytes = g.inRow * g.h.Stride
	}
	least, all := 1, c.rows
	if c.rows == 1 { // parts along the row
		bytes = pl.inBlocks * g.inPx * g.w.Stride
		least, all = 4*pl.longestTile(), c.cols
	}
	c.step = min(max(partBytes/bytes, least), all)
	c.parts = (all + c.step - 1) / c.step
	for threads > 1 && c.chunks() < threads*chunksPerThread && c.step > least {
		c.step = max((c.step+1)/2, least)
		c.parts = (all + c.step - 1) / c.step
	}
	c.step = (all + c.parts - 1) / c.parts // of equal size
	c.parts = (all + c.step - 1) / c.step
	return c
}

// longestTile is the most pixels of the kernels in use.
func (pl *Plan) longestTile() int {
	if pl.algorithm == Depthwise {
		return depthwisePixels
	}
	return len(pl.set.tiles[pl.groupsOf[0].n]) - 1
}

func (c *cut) chunks() int { return c.images * c.depths * c.parts * c.groups }

// at gives chunk i.
func (c *cut) at(i int) chunk {
	var k chunk
	k.group, i = i%c.groups, i/c.groups
	part := i % c.parts
	i /= c.parts
	k.depth, k.image = i%c.depths, i/c.depths
	lo, hi := part*c.step, (part+1)*c.step
	if c.rows == 1 {
		k.area = area{0, 1, lo, min(hi, c.cols)}
	} else {
		k.area = area{lo, min(hi, c.rows), 0, c.cols}
	}
	return k
}
