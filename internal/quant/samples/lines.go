package samples

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine is the most bytes of a line.
const maxLine = 256 << 20

// lines are the lines of a file that are not blank. They are read when asked for.
type lines struct {
	path   string
	number []int // counted from 1
	from   []int64
	length []int
}

// index reads through a file and calls see with each line.
func index(path string, see func(number int, line []byte) error) (*lines, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &lines{path: path}
	r := bufio.NewReaderSize(f, 1<<16)
	at := int64(0)
	for number := 1; ; number++ {
		line, err := readLine(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := see(number, line); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
			}
			l.number, l.from, l.length = append(l.number, number), append(l.from, at), append(l.length, len(line))
		}
		if err != nil {
			return l, nil
		}
		at += int64(len(line))
	}
}

// readLine reads a line with its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		more, err := r.ReadSlice('\n')
		line = append(line, more...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("it has more than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (l *lines) len() int           { return len(l.number) }
func (l *lines) where(i int) string { return fmt.Sprintf("%s, line %d", l.path, l.number[i]) }

// line reads line i without the blanks around it.
func (l *lines) line(i int) ([]byte, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, l.length[i])
	if _, err := f.ReadAt(b, l.from[i]); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b), nil
}
