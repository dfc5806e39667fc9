package npy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// literal reads the small part of Python's literals that headers use: a
// dictionary of strings, True, False and a tuple of integers.
type literal struct {
	s   string
	pos int
}

func (l *literal) header() (*header, error) {
	h := &header{}
	seen := map[string]bool{}
	if err := l.expect('{'); err != nil {
		return nil, err
	}
	for !l.accept('}') {
		key, err := l.text()
		if err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, fmt.Errorf("key %q is given twice", key)
		}
		seen[key] = true
		if err := l.expect(':'); err != nil {
			return nil, err
		}
		if err := l.value(h, key); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if !l.accept(',') {
			if err := l.expect('}'); err != nil {
				return nil, err
			}
			break
		}
	}
	for _, k := range []string{"descr", "fortran_order", "shape"} {
		if !seen[k] {
			return nil, fmt.Errorf("key %q is missing", k)
		}
	}
	if l.space(); l.pos != len(l.s) {
		return nil, fmt.Errorf("text follows the dictionary at byte %d", l.pos)
	}
	return h, nil
}

func (l *literal) value(h *header, key string) (err error) {
	switch key {
	case "descr":
		if l.accept('[') {
			return errors.New("structured records have no tensor type; save each field as an array of its own")
		}
		h.descr, err = l.text()
	case "fortran_order":
		h.fortran, err = l.boolean()
	case "shape":
		h.shape, err = l.tuple()
	default:
		err = errors.New("unknown key: expected descr, fortran_order and shape")
	}
	return err
}

func (l *literal) space() {
	for l.pos < len(l.s) && strings.IndexByte(" \t\r\n", l.s[l.pos]) >= 0 {
		l.pos++
	}
}

func (l *literal) accept(c byte) bool {
	l.space()
	if l.pos < len(l.s) && l.s[l.pos] == c {
		l.pos++
		return true
	}
	return false
}

func (l *literal) expect(c byte) error {
	if l.accept(c) {
		return nil
	}
	if l.pos == len(l.s) {
		return fmt.Errorf("expected %q, found the end", c)
	}
	return fmt.Errorf("expected %q at byte %d, found %q", c, l.pos, l.s[l.pos])
}

// text reads a quoted string; escapes do not occur in type strings and keys.
func (l *literal) text() (string, error) {
	quote := byte('\'')
	if l.accept('"') {
		quote = '"'
	} else if err := l.expect('\''); err != nil {
		return "", err
	}
	n := strings.IndexByte(l.s[l.pos:], quote)
	if n < 0 {
		return "", errors.New("string without an end")
	}
	t := l.s[l.pos : l.pos+n]
	if strings.IndexByte(t, '\\') >= 0 {
		return "", fmt.Errorf("escape in %q", t)
	}
	l.pos += n + 1
	return t, nil
}

func (l *literal) boolean() (bool, error) {
	l.space()
	for word, v := range map[string]bool{"True": true, "False": false} {
		if strings.HasPrefix(l.s[l.pos:], word) {
			l.pos += len(word)
			return v, nil
		}
	}
	return false, fmt.Errorf("expected True or False at byte %d", l.pos)
}

func (l *literal) tuple() ([]int, error) {
	shape := []int{}
	if err := l.expect('('); err != nil {
		return nil, err
	}
	for !l.accept(')') {
		start := l.pos
		for l.pos < len(l.s) && l.s[l.pos] >= '0' && l.s[l.pos] <= '9' {
			l.pos++
		}
		d, err := strconv.ParseInt(l.s[start:l.pos], 10, strconv.IntSize)
		if err != nil {
			return nil, fmt.Errorf("dimension %d: expected a whole number from 0: %w", len(shape), err)
		}
		if len(shape) == maxRank {
			return nil, fmt.Errorf("more than %d dimensions", maxRank)
		}
		shape = append(shape, int(d))
		l.accept('L') // Python 2 wrote 3L
		if !l.accept(',') {
			return shape, l.expect(')')
		}
	}
	return shape, nil
}
