package onnx

import (
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is a protobuf message under construction: a list of pieces, so that
// weights are written from where they lie.
type message struct {
	pieces [][]byte
	tail   []byte // small fields since the last large piece
	size   int
}

// largePiece is the size from which bytes are referred to instead of copied.
const largePiece = 4096

func (m *message) grow(f func([]byte) []byte) {
	before := len(m.tail)
	m.tail = f(m.tail)
	m.size += len(m.tail) - before
}

func (m *message) varint(id protowire.Number, v int64) {
	m.grow(func(b []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, id, protowire.VarintType), uint64(v))
	})
}

func (m *message) float(id protowire.Number, v float32) {
	m.grow(func(b []byte) []byte {
		return protowire.AppendFixed32(protowire.AppendTag(b, id, protowire.Fixed32Type), math.Float32bits(v))
	})
}

// str writes a string that is not empty.
func (m *message) str(id protowire.Number, s string) {
	if s != "" {
		m.bytes(id, []byte(s))
	}
}

func (m *message) bytes(id protowire.Number, data []byte) {
	m.grow(func(b []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, id, protowire.BytesType), uint64(len(data)))
	})
	m.append(data)
}

func (m *message) append(data []byte) {
	if len(data) < largePiece {
		m.grow(func(b []byte) []byte { return append(b, data...) })
		return
	}
	m.flush()
	m.pieces = append(m.pieces, data)
	m.size += len(data)
}

func (m *message) flush() {
	if len(m.tail) > 0 {
		m.pieces = append(m.pieces, m.tail)
		m.tail = nil
	}
}

// message writes a nested message.
func (m *message) message(id protowire.Number, inner *message) {
	m.grow(func(b []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, id, protowire.BytesType), uint64(inner.size))
	})
	inner.flush()
	for _, p := range inner.pieces {
		m.append(p)
	}
}

func (m *message) writeTo(w io.Writer) error {
	m.flush()
	for _, p := range m.pieces {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
