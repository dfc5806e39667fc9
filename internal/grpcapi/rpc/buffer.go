package rpc

import (
	"math/bits"
	"sync"
)

// Buffer is a message's bytes in memory that Free gives back. The owner frees it once.
type Buffer struct {
	data []byte
	skip int // bytes before the message
}

// Pooled capacities are the powers of two from 1 KiB to 4 MiB.
const minClass, maxClass = 10, 22

var pools [maxClass - minClass + 1]sync.Pool

// NewBuffer gives an empty buffer with room for n bytes.
func NewBuffer(n int) *Buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return &Buffer{data: make([]byte, 0, n)}
	}
	if b, ok := pools[class-minClass].Get().(*Buffer); ok {
		return b
	}
	return &Buffer{data: make([]byte, 0, 1<<class)}
}

// Bytes is the message.
func (b *Buffer) Bytes() []byte { return b.data[b.skip:] }

// Fill sets the message to what f appends to an empty slice.
func (b *Buffer) Fill(f func([]byte) []byte) { b.data, b.skip = f(b.data[:0]), 0 }

// Free gives the memory back; nil has none.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	c := cap(b.data)
	if c < 1<<minClass || c > 1<<maxClass {
		return
	}
	class := bits.Len(uint(c)) - 1 // the largest that fits
	b.data, b.skip = b.data[:0], 0
	pools[class-minClass].Put(b)
}

// grow makes room for n bytes more, in all about want bytes if that is more.
func (b *Buffer) grow(n, want int) *Buffer {
	have := len(b.data) - b.skip
	if len(b.data)+n <= cap(b.data) {
		return b
	}
	if b.skip > 0 && have+n <= cap(b.data)/2 {
		copy(b.data, b.data[b.skip:])
		b.data, b.skip = b.data[:have], 0
		return b
	}
	bigger := NewBuffer(max(have+n, want))
	bigger.data = append(bigger.data, b.data[b.skip:]...)
	b.Free()
	return bigger
}
