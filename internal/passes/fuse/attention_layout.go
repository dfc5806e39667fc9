package fuse

import (
	"fmt"
	"slices"
	"strings"
)

// layout writes dimensions in the notation of FusedAttention. It fails where an
// atom has no role, or a dimension is made of two of unknown size.
func layout(dims [][]*atom) (string, bool) {
	var words []string
	for _, d := range dims {
		var names []string
		free := 0
		for _, a := range d {
			switch {
			case a.fixed:
				n, _ := a.size.Int()
				names = append(names, fmt.Sprintf("%d/%d", a.index, n))
			case a.role == 0:
				return "", false
			default:
				names = append(names, string(a.role))
				if a.role != 'h' && a.role != 'g' {
					free++
				}
			}
		}
		switch {
		case free > 1:
			return "", false
		case len(names) == 0:
			words = append(words, "1")
		case len(names) == 1:
			words = append(words, names[0])
		default:
			words = append(words, "("+strings.Join(names, " ")+")")
		}
	}
	return strings.Join(words, " "), true
}

// layoutDims splits a layout into the texts of its dimensions.
func layoutDims(text string) (dims []string, ok bool) {
	open := false
	for _, word := range strings.Fields(text) {
		if open {
			dims[len(dims)-1] += " " + word
		} else {
			dims = append(dims, word)
		}
		open = (open || strings.HasPrefix(word, "(")) && !strings.HasSuffix(word, ")")
	}
	return dims, !open
}

// innermost gives the role of the atom whose items lie side by side.
func innermost(dims [][]*atom) byte {
	flat := slices.Concat(dims...)
	if len(flat) == 0 || flat[len(flat)-1].fixed {
		return 0
	}
	return flat[len(flat)-1].role
}
