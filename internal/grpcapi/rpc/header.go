package rpc

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Header is the metadata of a call, valid while Admit runs.
type Header []hpack.HeaderField

// Get calls yield with each value of a field, whose name is lower-case, until it returns false.
func (h Header) Get(name string, yield func(value string) bool) {
	for i := range h {
		if h[i].Name == name && !yield(h[i].Value) {
			return
		}
	}
}

func (h Header) first(name string) (value string) {
	h.Get(name, func(v string) bool { value = v; return false })
	return value
}

// wellFormed reports whether the pseudo-fields are those of a request (RFC 9113, section 8.3.1).
func (h Header) wellFormed() bool {
	var seen [4]int
	regular := false
	for i := range h {
		name := h[i].Name
		if !strings.HasPrefix(name, ":") {
			if name == "connection" || strings.ToLower(name) != name {
				return false
			}
			regular = true
			continue
		}
		if regular {
			return false
		}
		switch name {
		case ":method":
			seen[0]++
		case ":path":
			seen[1]++
		case ":scheme":
			seen[2]++
		case ":authority":
			seen[3]++
		default:
			return false
		}
	}
	return seen[0] == 1 && seen[1] == 1 && seen[2] == 1 && seen[3] <= 1
}

// isGRPC reports whether a content type is gRPC's with protobuf messages.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == ';' || rest == "+proto" || strings.HasPrefix(rest, "+proto;"))
}

var timeoutUnits = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}

// timeout reads grpc-timeout.
func timeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	unit, ok := timeoutUnits[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	if time.Duration(n) > (1<<63-1)/unit {
		return 1<<63 - 1, true
	}
	return time.Duration(n) * unit, true
}

// encoder writes header blocks (RFC 7541). Two fields that nearly all answers
// have go to the client's dynamic table, once; all else is literal.
type encoder struct {
	noTable           bool // the client's table is smaller than the default
	shrink            bool // the client is yet to be told that we use none
	content, statusOK int  // the fields' places in the table, 0 if they are not there
}

const firstDynamic = 62

func (e *encoder) begin(b []byte) []byte {
	if e.shrink {
		e.shrink = false
		return append(b, 0x20)
	}
	return b
}

// setTable follows the client's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) setTable(size uint32) {
	if size < defaultTable && !e.noTable {
		*e = encoder{noTable: true, shrink: true}
	}
}

// add appends a field through the table.
func (e *encoder) add(b []byte, place *int, name, value string) []byte {
	switch {
	case *place > 0:
		return append(b, 0x80|byte(*place))
	case e.noTable:
		return appendLiteral(b, 0, name, value)
	}
	if e.content > 0 {
		e.content++
	}
	if e.statusOK > 0 {
		e.statusOK++
	}
	*place = firstDynamic
	return appendLiteral(b, 0x40, name, value)
}

// response appends the header block that begins an answer.
func (e *encoder) response(b []byte, encoding string) []byte {
	b = append(e.begin(b), 0x88) // :status: 200
	b = e.add(b, &e.content, "content-type", "application/grpc")
	if encoding != "" {
		b = appendLiteral(b, 0, "grpc-encoding", encoding)
	}
	return b
}

// trailers appends the header block that ends an answer.
func (e *encoder) trailers(b []byte, status *Error) []byte {
	b = e.begin(b)
	if status == nil {
		return e.add(b, &e.statusOK, "grpc-status", "0")
	}
	return appendStatus(b, status)
}

// only appends the block of an answer that has an error and no more.
func (e *encoder) only(b []byte, status *Error) []byte {
	return appendStatus(e.response(b, ""), status)
}

func appendStatus(b []byte, status *Error) []byte {
	b = appendLiteral(b, 0, "grpc-status", strconv.Itoa(int(status.Code)))
	b = appendLiteral(b, 0, "grpc-message", escape(status.Message))
	if status.Code == Unimplemented {
		b = appendLiteral(b, 0, "grpc-accept-encoding", acceptEncoding)
	}
	if status.RetryAfter > 0 {
		b = appendLiteral(b, 0, "grpc-retry-pushback-ms", strconv.FormatInt(status.RetryAfter.Milliseconds(), 10))
		b = appendLiteral(b, 0, "grpc-status-details-bin", status.details())
	}
	return b
}

// refusal appends the block that refuses what is not a gRPC call, as HTTP.
func (e *encoder) refusal(b []byte, status, text string) []byte {
	b = appendLiteral(e.begin(b), 0, ":status", status)
	b = appendLiteral(b, 0, "content-type", "application/grpc")
	return appendStatus(b, &Error{Code: Internal, Message: text})
}

func appendLiteral(b []byte, kind byte, name, value string) []byte {
	return appendString(appendString(append(b, kind), name), value)
}

func appendString(b []byte, s string) []byte {
	n := len(s)
	if n < 127 {
		return append(append(b, byte(n)), s...)
	}
	b = append(b, 127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), s...)
}

// escape percent-encodes a grpc-message.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	plain := func(c byte) bool { return c >= ' ' && c <= '~' && c != '%' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := []byte(s[:i])
	for ; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
