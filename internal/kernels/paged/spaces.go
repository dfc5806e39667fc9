package paged

import (
	"sync"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A spaceSize is what the size of a run's workspaces depends on.
type spaceSize struct{ group, d, threads int }

// idle are the workspaces that no run uses. A model has a task for each layer in each of
// its plans, of which one runs at a time: with workspaces of their own they would hold
// hundreds of megabytes.
var idle = struct {
	sync.Mutex
	of map[spaceSize][][]workspace
}{of: map[spaceSize][][]workspace{}}

// takeSpaces gives a run of t on so many threads its workspaces, and giveSpaces
// takes them back.
func (t *Task) takeSpaces(threads int) {
	size := spaceSize{t.group(), t.D, min(threads, tiling.MaxSlots)}
	idle.Lock()
	defer idle.Unlock()
	if free := idle.of[size]; len(free) > 0 {
		last := len(free) - 1
		t.spaces, free[last] = free[last], nil
		idle.of[size] = free[:last]
		return
	}
	t.spaces = make([]workspace, size.threads)
	for i := range t.spaces {
		t.spaces[i] = newWorkspace(&t.Problem)
	}
}

func (t *Task) giveSpaces() {
	size := spaceSize{t.group(), t.D, len(t.spaces)}
	idle.Lock()
	defer idle.Unlock()
	idle.of[size] = append(idle.of[size], t.spaces)
	t.spaces = nil
}
