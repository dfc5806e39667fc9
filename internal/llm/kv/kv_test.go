package kv

import (
	"math/rand/v2"
	"testing"
)

func TestReuseOrder(t *testing.T) {
	m := New(3)
	k := Root("a").Next([]int32{1}, 1)
	a, _ := m.Take()
	b, _ := m.Take()
	c, _ := m.Take()
	if _, ok := m.Take(); ok {
		t.Fatal("a fourth block of three")
	}
	m.Publish(a, k)
	m.Release(a)
	m.Release(b) // unpublished: first to be used again
	m.Release(c)
	if x, _ := m.Take(); x != c {
		t.Errorf("took %d, expected %d", x, c)
	}
	if x, ok := m.Find(k); !ok || x != a {
		t.Errorf("found %d, %v", x, ok)
	}
	if !okTake(m, b) {
		t.Error("b is free")
	}
	if m.Free() != 0 {
		t.Errorf("%d are free", m.Free())
	}
	m.Release(a)
	if !okTake(m, a) {
		t.Error("a is free")
	}
	if _, ok := m.Find(k); ok {
		t.Error("found what was overwritten")
	}
}

func okTake(m *Manager, want int32) bool {
	b, ok := m.Take()
	return ok && b == want
}

func TestTenantsShareNothing(t *testing.T) {
	if Root("a").Next([]int32{1}, 1) == Root("b").Next([]int32{1}, 1) || Root("a").Next([]int32{1, 2}, 2) == Root("a").Next([]int32{1}, 1).Next([]int32{2}, 1) {
		t.Error("keys collide")
	}
}

func TestRolesShareNothing(t *testing.T) {
	tokens := []int32{1, 2, 3, 4}
	seen := map[Key]bool{}
	for prompt := range len(tokens) + 1 {
		seen[Root("a").Next(tokens, prompt)] = true
	}
	if len(seen) != len(tokens)+1 {
		t.Error("keys of tokens in other roles collide")
	}
}

// A random use against counting by hand.
func TestRandomUse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := New(20)
	var held []int32
	refs := map[int32]int{}
	for range 20000 {
		switch rng.IntN(5) {
		case 0, 1:
			b, ok := m.Take()
			if ok != (len(refs) < 20) {
				t.Fatalf("took %v of %d held", ok, len(refs))
			}
			if ok {
				if refs[b] != 0 {
					t.Fatalf("took block %d, which is held", b)
				}
				held = append(held, b)
				refs[b] = 1
			}
		case 2:
			if len(held) > 0 {
				b := held[rng.IntN(len(held))]
				m.Publish(b, Root("").Next([]int32{int32(rng.IntN(30))}, 1))
			}
		case 3:
			if b, ok := m.Find(Root("").Next([]int32{int32(rng.IntN(30))}, 1)); ok {
				held = append(held, b)
				refs[b]++
			}
		case 4:
			if len(held) > 0 {
				i := rng.IntN(len(held))
				b := held[i]
				m.Release(b)
				held[i] = held[len(held)-1]
				held = held[:len(held)-1]
				if refs[b]--; refs[b] == 0 {
					delete(refs, b)
				}
			}
		}
		if m.Free() != 20-len(refs) {
			t.Fatalf("%d are free, expected %d", m.Free(), 20-len(refs))
		}
		for b, n := range refs {
			if m.Shared(b) != (n > 1) {
				t.Fatalf("block %d has %d holders", b, n)
			}
		}
	}
}
