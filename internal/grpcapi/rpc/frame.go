package rpc

import "encoding/binary"

// Frames of HTTP/2 (RFC 9113, section 6).
const (
	frameData byte = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Error codes (section 7).
const (
	codeNone          uint32 = 0x0
	codeProtocol      uint32 = 0x1
	codeInternal      uint32 = 0x2
	codeFlowControl   uint32 = 0x3
	codeStreamClosed  uint32 = 0x5
	codeFrameSize     uint32 = 0x6
	codeRefused       uint32 = 0x7
	codeCompression   uint32 = 0x9
	codeEnhanceCalm   uint32 = 0xb
	settingTable             = 0x1
	settingPush              = 0x2
	settingStreams           = 0x3
	settingWindow            = 0x4
	settingFrame             = 0x5
	settingHeaderList        = 0x6
)

const (
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	headerSize   = 9
	maxFrame     = 16384 // the largest frame that we take
	maxWindow    = 1<<31 - 1
	defaultTable = 4096
)

// connError ends a connection: the client gets a GOAWAY with it.
type connError struct {
	code uint32
	text string
}

func (e *connError) Error() string { return e.text }

// frame is one frame as it was read; payload is valid until the next is read.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// unpad cuts padding and, with priority, the five bytes that HEADERS may begin with.
func (f *frame) unpad(priority bool) ([]byte, error) {
	b, pad := f.payload, 0
	if f.has(flagPadded) {
		if len(b) == 0 {
			return nil, &connError{codeFrameSize, "a padded frame without the length of its padding"}
		}
		b, pad = b[1:], int(b[0])
	}
	if priority && f.has(flagPriority) {
		if len(b) < 5 {
			return nil, &connError{codeFrameSize, "HEADERS too short for its priority"}
		}
		b = b[5:]
	}
	if pad > len(b) {
		return nil, &connError{codeProtocol, "more padding than frame"}
	}
	return b[:len(b)-pad], nil
}

func appendFrame(b []byte, size int, kind, flags byte, stream uint32) []byte {
	return append(b, byte(size>>16), byte(size>>8), byte(size), kind, flags, byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendReset(b []byte, stream, code uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameReset, 0, stream), code)
}

func appendWindow(b []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameWindow, 0, stream), uint32(n))
}

func appendPing(b []byte, flags byte, data [8]byte) []byte {
	return append(appendFrame(b, 8, framePing, flags, 0), data[:]...)
}

func appendGoAway(b []byte, last, code uint32, text string) []byte {
	b = appendFrame(b, 8+len(text), frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, text...)
}

func appendSettings(b []byte, pairs ...uint32) []byte {
	b = appendFrame(b, 3*len(pairs), frameSettings, 0, 0)
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
		b = binary.BigEndian.AppendUint32(b, pairs[i+1])
	}
	return b
}
