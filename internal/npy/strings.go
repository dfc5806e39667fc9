package npy

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/tensor"
)

// decodeStrings cuts fixed-width strings out of raw; padding NULs go.
func decodeStrings(raw []byte, h *header) (*tensor.Tensor, error) {
	out := make([]string, h.count)
	for i := range out {
		cell := raw[i*h.elem.size : (i+1)*h.elem.size]
		if !h.elem.unicode {
			out[i] = strings.TrimRight(string(cell), "\x00")
			continue
		}
		s, err := fromUCS4(cell)
		if err != nil {
			return nil, fmt.Errorf("npy: string %d: %w", i, err)
		}
		out[i] = s
	}
	return tensor.FromStrings(out, h.shape...), nil
}

func fromUCS4(cell []byte) (string, error) {
	n := len(cell)
	for n >= 4 && binary.LittleEndian.Uint32(cell[n-4:]) == 0 {
		n -= 4
	}
	var b strings.Builder
	for i := 0; i < n; i += 4 {
		c := binary.LittleEndian.Uint32(cell[i:])
		if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", fmt.Errorf("%#x is no Unicode character", c)
		}
		b.WriteRune(rune(c))
	}
	return b.String(), nil
}

// stringWidth chooses U (characters) for valid UTF-8 and S (bytes) otherwise,
// and its width. Neither can keep NULs at the end, so those are refused.
func stringWidth(ss []string) (unicode bool, width int, err error) {
	unicode, width = true, 1
	for i, s := range ss {
		if strings.HasSuffix(s, "\x00") {
			return false, 0, fmt.Errorf("npy: string %d ends in NUL, which the format drops", i)
		}
		unicode = unicode && utf8.ValidString(s)
	}
	for _, s := range ss {
		n := len(s)
		if unicode {
			n = utf8.RuneCountInString(s)
		}
		width = max(width, n)
	}
	return unicode, width, nil
}
