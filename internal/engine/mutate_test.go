package engine_test

import (
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// A protoField is one field of a protobuf message that is taken apart: a number,
// or bytes that may be a message themselves.
type protoField struct {
	id   protowire.Number
	typ  protowire.Type
	data []byte // of the field as it stands, or its contents if typ is BytesType
}

// takeApart splits a message into its fields; false if it is none.
func takeApart(b []byte) (fields []protoField, ok bool) {
	for len(b) > 0 {
		id, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(id, typ, b[n:])
		if size < 0 || typ == protowire.StartGroupType {
			return nil, false
		}
		f := protoField{id, typ, b[n : n+size]}
		if typ == protowire.BytesType {
			f.data, _ = protowire.ConsumeBytes(f.data)
		}
		fields, b = append(fields, f), b[n+size:]
	}
	return fields, true
}

func putTogether(fields []protoField) (b []byte) {
	for _, f := range fields {
		b = protowire.AppendTag(b, f.id, f.typ)
		if f.typ == protowire.BytesType {
			b = protowire.AppendBytes(b, f.data)
		} else {
			b = append(b, f.data...)
		}
	}
	return b
}

// mutate changes one field somewhere in a message: it stays a message, so that
// the change reaches what reads it.
func mutate(r *rand.Rand, b []byte) []byte {
	fields, ok := takeApart(b)
	if !ok || len(fields) == 0 {
		return mutateBytes(r, b)
	}
	i := r.IntN(len(fields))
	f := &fields[i]
	if f.typ == protowire.BytesType && r.IntN(8) > 0 {
		f.data = mutate(r, f.data)
		return putTogether(fields)
	}
	switch r.IntN(5) {
	case 0:
		fields = append(fields[:i:i], fields[i+1:]...)
	case 1:
		fields = append(fields, *f)
	case 2:
		f.data, f.typ = fields[r.IntN(len(fields))].data, fields[r.IntN(len(fields))].typ
		if f.typ != protowire.BytesType {
			f.typ, f.data = protowire.VarintType, protowire.AppendVarint(nil, uint64(r.IntN(30)))
		}
	default:
		switch f.typ {
		case protowire.VarintType:
			f.data = protowire.AppendVarint(nil, oddNumber(r))
		case protowire.BytesType:
			f.data = mutateBytes(r, f.data)
		default:
			f.data = mutateBytes(r, f.data)[:len(f.data)]
		}
	}
	return putTogether(fields)
}

func oddNumber(r *rand.Rand) uint64 {
	odd := []int64{0, 1, 2, 3, 4, 5, 7, 8, 11, 16, 64, 1000, 1 << 20, 1 << 31, 1 << 40, 1<<63 - 1, -1 << 63, -1, -2, -3}
	return uint64(odd[r.IntN(len(odd))])
}

// mutateBytes changes text, packed numbers or raw data.
func mutateBytes(r *rand.Rand, b []byte) []byte {
	b = append([]byte{}, b...)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return []byte{byte(r.IntN(256))}
		}
		at := r.IntN(len(b))
		switch r.IntN(4) {
		case 0:
			b[at] = byte(r.IntN(256))
		case 1:
			b[at] = []byte{0, 1, 2, 3, 0x7f, 0x80, 0xff}[r.IntN(7)]
		case 2:
			for i := at &^ 7; i < len(b) && i < at|7; i++ {
				b[i] = []byte{0, 0xff}[r.IntN(2)]
			}
		case 3:
			b[at] ^= 1 << r.IntN(8)
		}
	}
	return b
}
