package conv

// BlockedLen is the number of floats of a blocked activation: n·⌈c/block⌉·plane·block.
func BlockedLen(n, c, plane, block int) int { return n * blocks(c, block) * plane * block }

func blocks(c, block int) int { return (c + block - 1) / block }

// Reorder converts activations between layouts; it implements pool.Task with a
// chunk per image and channel block.
type Reorder struct {
	c, plane, block int
	toBlocked       bool
	plain, blocked  []float32
}

// NewToBlocked converts plain [n, c, plane] to blocked [n, ⌈c/block⌉, plane, block].
func NewToBlocked(c, plane, block int) *Reorder {
	return &Reorder{c: c, plane: plane, block: block, toBlocked: true}
}

// NewFromBlocked converts blocked to plain and drops the padding channels.
func NewFromBlocked(c, plane, block int) *Reorder {
	return &Reorder{c: c, plane: plane, block: block}
}

// ToBlocked converts on the calling thread.
func ToBlocked(dst, src []float32, n, c, plane, block int) {
	NewToBlocked(c, plane, block).Run(nil, n, dst, src)
}

// FromBlocked converts on the calling thread.
func FromBlocked(dst, src []float32, n, c, plane, block int) {
	NewFromBlocked(c, plane, block).Run(nil, n, dst, src)
}
