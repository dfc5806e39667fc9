package oip

import "github.com/salver-ml/salver/internal/tensor"

// Scratch is memory of a request that later ones use again. The zero value is ready.
type Scratch struct {
	arena []byte
	used  int
	known [16]string // texts of recent requests
	next  int
}

// Alloc gives n bytes, aligned as tensors made by package tensor are. They are
// not zeroed, and the request's until Reset.
func (s *Scratch) Alloc(n int) []byte {
	if s.used+n > len(s.arena) {
		// What was given out keeps the old arena alive.
		s.arena, s.used = tensor.Bytes(max(2*n, 4096)), 0
	}
	b := s.arena[s.used : s.used+n : s.used+n]
	s.used += (n + tensor.Align - 1) &^ (tensor.Align - 1)
	return b
}

// Intern makes a string of t. Names are mostly those of an earlier request: then it allocates nothing.
func (s *Scratch) Intern(t []byte) string {
	for _, k := range s.known {
		if k == string(t) {
			return k
		}
	}
	k := string(t)
	if len(k) <= 64 {
		s.known[s.next%len(s.known)] = k
		s.next++
	}
	return k
}

// Reset takes back what Alloc gave, and keeps it if it is at most keep bytes.
func (s *Scratch) Reset(keep int) {
	s.used = 0
	if len(s.arena) > keep {
		s.arena = nil
	}
}
