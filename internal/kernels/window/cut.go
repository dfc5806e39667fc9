package window

// Chunk is a part of the work: an area of the output planes of one image and
// one group of channels, at one depth of a volume.
type Chunk struct {
	Image, Depth, Group int
	Area                Area
}

// Work describes what is to be divided.
type Work struct {
	Images, Depths, Groups int
	Rows, Cols             int  // of an output plane
	LineBytes              int  // input read for one row; for one column where the plane is one row
	WeightBytes            int  // of all groups
	Anew                   bool // weights of a group are too large to stay in a cache from one part to the next
	Least                  int  // columns of a part of a single row
	Threads                int
	Order                  Order
	PartBytes              int // most input of a part; 0 is DefaultPart
	MostRows               int // of a part; 0: any
}

// Order is which parts of the work follow each other.
type Order uint8

const (
	ByCost      Order = iota // whatever reads less
	InputFirst               // all groups for a part of the input, then the next part
	WeightFirst              // all parts for a group's weights, then the next group
)

// Cut says how work is divided: parts of an output plane, each for all groups
// in turn, so that the part's input stays in the cache; or groups, each for all
// parts in turn, so that the group's weights do, where that reads less.
type Cut struct {
	work       Work
	parts      int
	step       int // rows of a part, or columns
	groupFirst bool
}

// DefaultPart is the most input of a part, in bytes: with the weights of some
// output channels it stays in a second-level cache of 512 KiB or more.
const DefaultPart = 256 << 10

// chunksPerThread lets threads that are slower, or late, do less.
const chunksPerThread = 4

// NewCut divides work for its threads.
func NewCut(w Work) Cut {
	c := Cut{work: w}
	least, all := 1, w.Rows
	if w.Rows == 1 {
		least, all = w.Least, w.Cols
	}
	if w.PartBytes == 0 {
		w.PartBytes = DefaultPart
	}
	c.share(all, least, max(w.PartBytes/w.LineBytes, least))
	inputs := w.LineBytes * all * w.Images * w.Depths
	switch w.Order {
	case ByCost:
		c.groupFirst = w.WeightBytes*w.Images*w.Depths*c.parts > inputs*w.Groups
	case WeightFirst:
		c.groupFirst = true
	}
	if c.groupFirst && w.Anew { // then each part reads them from where they are
		c.share(all, least, all)
	}
	return c
}

// share makes parts of at most so many rows or columns, and enough of them for the threads.
func (c *Cut) share(all, least, most int) {
	w := &c.work
	c.step = min(most, all)
	if w.MostRows > 0 && w.Rows > 1 {
		c.step = min(c.step, w.MostRows)
	}
	c.parts = (all + c.step - 1) / c.step
	for w.Threads > 1 && c.Chunks() < w.Threads*chunksPerThread && c.step > least {
		c.step = max((c.step+1)/2, least)
		c.parts = (all + c.step - 1) / c.step
	}
	c.divide(all, c.parts)
	c.balance(all, max(least/4, 1))
}

// divide makes parts of equal size, no more than so many.
func (c *Cut) divide(all, parts int) {
	c.step = (all + parts - 1) / parts
	c.parts = (all + c.step - 1) / c.step
}

// fewChunks is how many chunks a thread has at least where it matters little that
// another has one more.
const fewChunks = 8

// balance makes a few more parts, of least rows or columns, where so the threads can have
// equally many chunks: of five, one thread would compute three.
func (c *Cut) balance(all, least int) {
	threads := c.work.Threads
	if threads < 2 || c.Chunks()%threads == 0 || c.Chunks() >= threads*fewChunks {
		return
	}
	more := *c
	for parts := c.parts + 1; parts <= c.parts+threads; parts++ {
		if more.divide(all, parts); more.step < least {
			return
		}
		if more.Chunks()%threads == 0 {
			*c = more
			return
		}
	}
}

// Chunks is the number of chunks.
func (c *Cut) Chunks() int { return c.work.Images * c.work.Depths * c.parts * c.work.Groups }

// First reports whether no earlier round over the groups, from either end, has read the
// weights of chunk i.
func (c *Cut) First(i int) bool {
	return c.groupFirst || i < c.work.Groups || c.work.Threads > 1 && i >= c.Chunks()-c.work.Groups
}

// At gives chunk i.
func (c *Cut) At(i int) Chunk {
	var k Chunk
	places := c.work.Images * c.work.Depths * c.parts
	if c.groupFirst {
		k.Group, i = i/places, i%places
	} else {
		k.Group, i = i%c.work.Groups, i/c.work.Groups
	}
	part := i % c.parts
	i /= c.parts
	k.Depth, k.Image = i%c.work.Depths, i/c.work.Depths
	lo, hi := part*c.step, (part+1)*c.step
	if c.work.Rows == 1 {
		k.Area = Area{0, 1, lo, min(hi, c.work.Cols)}
	} else {
		k.Area = Area{lo, min(hi, c.work.Rows), 0, c.work.Cols}
	}
	return k
}
