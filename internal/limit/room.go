package limit

import "fmt"

// Small is how many bytes a request may hold without being counted.
const Small = 64 << 10

// Room is what one request holds of InFlight.MaxBytes. The zero value holds
// nothing and has no maximum.
type Room struct {
	of         *InFlight
	want, held int64
}

// Room is for one request, which gives it back with Leave. f may be nil.
func (f *InFlight) Room() Room { return Room{of: f} }

// Add asks for n bytes more, before they are taken. The error is a *FullError.
func (r *Room) Add(n int) error {
	f, want := r.of, r.want+int64(n)
	if f == nil || f.MaxBytes == 0 || want <= Small {
		r.want = want
		return nil
	}
	if all := f.bytes.Add(want - r.held); all > f.MaxBytes {
		f.bytes.Add(r.held - want)
		f.refusedForItsBytes.Add(1)
		return &FullError{Want: want, Max: f.MaxBytes}
	}
	r.want, r.held = want, want
	return nil
}

// Leave gives everything back.
func (r *Room) Leave() {
	if r.held > 0 {
		r.of.bytes.Add(-r.held)
	}
	*r = Room{}
}

// FullError refuses a request because of the bytes that it would hold.
type FullError struct{ Want, Max int64 }

// Never reports whether the request would hold too much even alone.
func (e *FullError) Never() bool { return e.Want > e.Max }

func (e *FullError) Error() string {
	if e.Never() {
		return fmt.Sprintf("the request and its answer would take %d bytes of memory, the server allows %d", e.Want, e.Max)
	}
	return fmt.Sprintf("the server holds so many large requests and answers that there is no room for %d bytes (its maximum is %d); try again later", e.Want, e.Max)
}

// Bytes is what is held of MaxBytes.
func (f *InFlight) Bytes() int64 { return f.bytes.Load() }

// RefusedForBytes is the number of requests that found no room.
func (f *InFlight) RefusedForBytes() uint64 { return f.refusedForItsBytes.Load() }
