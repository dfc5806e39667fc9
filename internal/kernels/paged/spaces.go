package paged

import (
	"sync"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// spaces are the workspaces of a run, and room for the parts of splits.
type spaces struct {
	each  []workspace
	parts state
}

// A spaceSize is what the size of a run's workspaces depends on.
type spaceSize struct{ rows, group, d, threads int }

// idle are the spaces that no run uses. A model has a task for each layer in each of
// its plans, of which one runs at a time: with spaces of their own they would hold
// hundreds of megabytes.
var idle = struct {
	sync.Mutex
	of map[spaceSize][]*spaces
}{of: map[spaceSize][]*spaces{}}

// takeSpaces gives a run of t on so many threads its spaces, and giveSpaces takes them
// back.
func (t *Task) takeSpaces(threads int) {
	size := t.spaceSize(min(threads, tiling.MaxSlots))
	t.spaces = takeIdle(size)
	if t.spaces == nil {
		t.spaces = &spaces{each: make([]workspace, size.threads)}
		for i := range t.spaces.each {
			t.spaces.each[i] = newWorkspace(&t.Problem)
		}
	}
	if len(t.spaces.parts.l) < t.partRows {
		t.spaces.parts = newState(t.partRows, t.D)
	}
}

func takeIdle(size spaceSize) *spaces {
	idle.Lock()
	defer idle.Unlock()
	free := idle.of[size]
	if len(free) == 0 {
		return nil
	}
	last := len(free) - 1
	s := free[last]
	free[last] = nil
	idle.of[size] = free[:last]
	return s
}

func (t *Task) giveSpaces() {
	size := t.spaceSize(len(t.spaces.each))
	idle.Lock()
	defer idle.Unlock()
	idle.of[size] = append(idle.of[size], t.spaces)
	t.spaces = nil
}

func (t *Task) spaceSize(threads int) spaceSize {
	return spaceSize{t.mostRows(), t.group(), t.D, threads}
}
