package image

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func readFile(t testing.TB, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// describe writes a small picture as "WxH v v v".
func describe(p *Pixels) string {
	return fmt.Sprintf("%dx%d %s", p.Width, p.Height, strings.Trim(fmt.Sprint(p.Pix), "[]"))
}

func TestCropAndLetterbox(t *testing.T) {
	p := &Pixels{4, 3, 1, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}
	c, err := p.CropCenter(1, 2)
	if err != nil || describe(c) != "1x2 2 6" {
		t.Error(c, err)
	}
	if _, err := p.CropCenter(5, 1); err == nil || !strings.Contains(err.Error(), "5x1 does not fit in the picture of 4x3") {
		t.Error(err)
	}
	if got := describe(p.Letterbox(4, 6, Bilinear, 9)); got != "4x6 9 9 9 9 1 2 3 4 5 6 7 8 9 10 11 12 9 9 9 9 9 9 9 9" {
		t.Error(got)
	}
	if got := p.RGB().Gray(); describe(got) != describe(p) {
		t.Error(describe(got))
	}
	for _, c := range []struct{ w, h, n, ww, wh int }{{451, 300, 256, 384, 256}, {300, 451, 256, 256, 384}, {10, 10, 5, 5, 5}, {1000, 1, 3, 3000, 3}} {
		if w, h := NewPixels(c.w, c.h, 1).ShorterSide(c.n); w != c.ww || h != c.wh {
			t.Errorf("%v: %dx%d", c, w, h)
		}
	}
}
