package samples

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
)

// readLabels reads a class for each sample of src out of a file.
func readLabels(path string, src source) ([]int, error) {
	list, err := labelFile(path, src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(list) != src.len() {
		return nil, fmt.Errorf("%s: it has %d classes for %d samples", path, len(list), src.len())
	}
	return list, nil
}

func labelFile(path string, src source) ([]int, error) {
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		t, err := npy.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return classes(t)
	}
	lines, err := image.ReadLabels(path)
	if err != nil {
		return nil, err
	}
	list := make([]int, len(lines))
	for i, line := range lines {
		fields := strings.Fields(line)
		if len(fields) > 0 {
			if list[i], err = strconv.Atoi(fields[len(fields)-1]); err == nil && list[i] >= 0 {
				continue
			}
		}
		if p, ok := src.(*pictures); ok && p.folder != nil {
			return p.named(lines)
		}
		return nil, fmt.Errorf("line %d is %q: expected a class, 0 or more, at its end", i+1, line)
	}
	return list, nil
}

// classes reads a tensor of class numbers, one a row.
func classes(t *tensor.Tensor) ([]int, error) {
	list, err := t.Ints()
	if err != nil {
		return nil, fmt.Errorf("array %q: expected int32 or int64 numbers of classes, found %s", labelsName, t)
	}
	for i, c := range list {
		if c < 0 {
			return nil, fmt.Errorf("array %q: class %d is %d: expected 0 or more", labelsName, i, c)
		}
	}
	return list, nil
}
