//go:build !amd64 || noasm

package pool

import "sync/atomic"

var spun atomic.Uint32

// pause takes about as long as the instruction it stands for: loads that the
// compiler can't drop.
func pause() {
	for range 32 {
		spun.Load()
	}
}
