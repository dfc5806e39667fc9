package image

import (
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"
)

// noise makes the pictures of testdata/make.py again.
func noise(w, h, c int) *Pixels {
	p := NewPixels(w, h, c)
	for i := range p.Pix {
		v := uint32(i)*2654435761 + 7
		v = (v ^ v>>15) * 2246822519
		p.Pix[i] = byte(v >> 24)
	}
	return p
}

func TestResizeHasPillowsBits(t *testing.T) {
	golden, err := os.ReadFile("testdata/pillow.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	for _, line := range lines {
		var w, h, c, outW, outH int
		var filter string
		var want uint32
		if _, err := fmt.Sscanf(line, "%dx%dx%d %s %dx%d %d", &w, &h, &c, &filter, &outW, &outH, &want); err != nil {
			t.Fatal(line, err)
		}
		p := noise(w, h, c)
		if filter == "gray" {
			p = p.Gray()
		} else {
			f, err := ParseFilter(filter)
			if err != nil {
				t.Fatal(err)
			}
			p = p.Resize(outW, outH, f)
		}
		if got := crc32.ChecksumIEEE(p.Pix); got != want || p.Width != outW || p.Height != outH {
			t.Errorf("%s: other bits than Pillow's", line)
		}
	}
	if len(lines) < 290 {
		t.Errorf("only %d cases", len(lines))
	}
}

func BenchmarkResize(b *testing.B) {
	p := noise(1920, 1080, 3)
	for b.Loop() {
		p.Resize(398, 224, Bilinear)
	}
}
