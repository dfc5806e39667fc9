package ui_test

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/backend"
	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/ui"
)

// demoServer serves the demo's networks and the page, or names the server in
// SALVER_UI_URL (salver serve --demo) to test that one.
func demoServer(t *testing.T, authorize oip.Authorizer) string {
	t.Helper()
	if url := os.Getenv("SALVER_UI_URL"); url != "" && authorize == nil {
		return strings.TrimSuffix(url, "/")
	}
	core := serve.New(serve.Options{})
	for _, m := range demo.Models() {
		e, err := engine.Parse(m.ONNX, engine.Options{Level: pass.MaxLevel})
		if err != nil {
			t.Fatal(m.Name, err)
		}
		if err := core.Register(m.Name, 1, backend.New(e), nil); err != nil {
			t.Fatal(m.Name, err)
		}
	}
	s := httptest.NewServer(rest.New(core, rest.Options{Version: "test", Pages: ui.Handler(), Authorize: authorize, APIs: openaiapi.APIs(core, openaiapi.Options{})}))
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := core.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.URL
}

// drawing is one digit as pen lines through points of a field of 100 x 100,
// drawn with a width, at a place (the field's centre is 140, 140) and a size.
type drawing struct {
	digit  int
	lines  string
	width  int
	dx, dy float64
	scale  float64 // field units to pixels
	lean   float64 // radians
	pen    bool    // rather than a mouse
}

// drawings were written by hand for this test; none of the training data's
// digits or templates went into them.
var drawings = []drawing{
	{0, "57,8 33,18 22,45 28,78 48,92 70,82 79,52 72,22 55,8", 18, 0, 0, 2.2, 0, false},
	{1, "52,7 51,40 50,93", 14, 40, 10, 2.0, 0.05, true},
	{2, "24,28 36,10 58,9 72,24 66,44 46,66 22,90 50,88 78,90", 20, -10, 5, 2.1, 0, false},
	{3, "26,16 46,7 66,14 66,34 44,46 68,56 74,76 56,92 24,86", 10, -45, -30, 1.3, 0, true},
	{4, "58,8 38,36 18,62 50,63 84,61|64,34 62,64 61,94", 16, 5, 0, 2.0, 0, false},
	{5, "74,9 34,11 29,44 52,38 72,50 73,74 54,92 24,86", 24, 0, 0, 2.3, 0, false},
	{6, "66,8 42,26 28,56 32,84 52,93 70,80 64,60 44,56 30,68", 12, 30, -20, 1.6, 0.1, true},
	{7, "20,12 50,11 78,10 60,44 44,92", 18, -15, 20, 1.9, 0, false},
	{8, "66,20 48,8 32,20 40,38 62,56 70,78 50,93 30,80 36,60 58,42 66,20", 14, 0, 0, 2.2, 0, true},
	{9, "70,26 54,9 34,16 32,38 50,48 68,34 71,22 70,58 64,92", 16, 20, 10, 1.9, 0, false},

	{0, "50,10 30,30 28,66 50,90 72,68 71,32 50,10", 34, 0, 0, 2.0, 0, false},
	{1, "34,30 54,8 54,50 53,92", 8, -60, 40, 1.1, 0, true},
	{2, "28,22 48,8 68,20 64,40 40,66 32,84 44,74 62,88 80,82", 9, 50, 40, 1.2, 0, false},
	{3, "24,10 50,10 72,11 48,40 70,54 72,78 50,92 26,84", 26, 0, -5, 2.2, 0, false},
	{4, "30,10 27,36 25,52 50,53 76,50|68,12 66,50 64,94", 12, -20, 15, 1.7, 0, true},
	{5, "32,10 30,28 28,44 54,42 72,58 66,82 44,92 24,84|32,10 54,9 76,8", 14, 10, -10, 1.8, -0.1, false},
	{6, "56,6 36,34 28,64 38,90 60,90 70,72 56,58 36,64 30,76", 28, 0, 0, 2.2, 0, false},
	{7, "22,22 24,10 52,9 78,12 56,50 50,92|36,52 54,50 70,50", 10, 35, -30, 1.4, 0, true},
	{8, "50,48 30,32 36,12 60,10 68,30 50,48 28,66 34,90 64,92 72,68 50,48", 20, -5, 0, 2.2, 0.08, false},
	{9, "68,20 46,8 30,24 40,44 62,40 70,22 72,56 60,86 36,90", 22, 0, 0, 2.2, 0, false},
}

// path gives a drawing's lines in page coordinates: a Catmull-Rom curve
// through the points, as a hand would move.
func (d *drawing) path(left, top float64) [][][2]float64 {
	var out [][][2]float64
	for line := range strings.SplitSeq(d.lines, "|") {
		var p [][2]float64
		for pair := range strings.FieldsSeq(line) {
			var x, y float64
			if _, err := fmt.Sscanf(pair, "%g,%g", &x, &y); err != nil {
				panic(err)
			}
			x, y = (x-50)*d.scale, (y-50)*d.scale
			sin, cos := math.Sincos(d.lean)
			p = append(p, [2]float64{left + 140 + d.dx + x*cos - y*sin, top + 140 + d.dy + x*sin + y*cos})
		}
		out = append(out, catmullRom(p, 4))
	}
	return out
}

func catmullRom(p [][2]float64, steps int) [][2]float64 {
	at := func(i int) [2]float64 { return p[min(max(i, 0), len(p)-1)] }
	out := [][2]float64{p[0]}
	for i := range len(p) - 1 {
		a, b, c, d := at(i-1), at(i), at(i+1), at(i+2)
		for s := 1; s <= steps; s++ {
			t := float64(s) / float64(steps)
			var q [2]float64
			for k := range q {
				q[k] = 0.5 * (2*b[k] + (c[k]-a[k])*t + (2*a[k]-5*b[k]+4*c[k]-d[k])*t*t + (3*b[k]-a[k]-3*c[k]+d[k])*t*t*t)
			}
			out = append(out, q)
		}
	}
	return out
}

func (b *browser) draw(d *drawing) {
	var box struct{ X, Y float64 }
	b.eval("document.getElementById('clear').click(), document.getElementById('pad').getBoundingClientRect().toJSON()", &box)
	b.eval(fmt.Sprintf("document.getElementById('pen').value = %d", d.width), nil)
	kind := map[bool]string{false: "mouse", true: "pen"}[d.pen]
	for _, line := range d.path(box.X, box.Y) {
		for i, p := range line {
			move := map[string]any{"type": "mouseMoved", "x": p[0], "y": p[1], "pointerType": kind, "force": 0.5}
			if i > 0 {
				move["button"], move["buttons"] = "left", 1
			}
			b.call("Input.dispatchMouseEvent", move, nil)
			if i == 0 {
				b.call("Input.dispatchMouseEvent", map[string]any{"type": "mousePressed", "x": p[0], "y": p[1], "button": "left", "buttons": 1,
					"clickCount": 1, "pointerType": kind, "force": 0.5}, nil)
			}
		}
		end := line[len(line)-1]
		b.call("Input.dispatchMouseEvent", map[string]any{"type": "mouseReleased", "x": end[0], "y": end[1], "button": "left",
			"clickCount": 1, "pointerType": kind}, nil)
	}
}

// touch draws with a finger.
func (b *browser) touch(d *drawing) {
	var box struct{ X, Y float64 }
	b.eval("document.getElementById('clear').click(), scrollTo(0, 0), document.getElementById('pad').getBoundingClientRect().toJSON()", &box)
	event := func(kind string, points ...map[string]any) {
		b.call("Input.dispatchTouchEvent", map[string]any{"type": kind, "touchPoints": append([]map[string]any{}, points...)}, nil)
	}
	for _, line := range d.path(box.X, box.Y) {
		for i, p := range line {
			kind := "touchMove"
			if i == 0 {
				kind = "touchStart"
			}
			event(kind, map[string]any{"x": p[0], "y": p[1]})
		}
		event("touchEnd")
	}
}

// answer waits until the page's answer has settled and gives its text, e.g. "3 98 %".
func (b *browser) answer() string {
	text, same := "", 0
	for end := time.Now().Add(20 * time.Second); same < 4 && time.Now().Before(end); time.Sleep(40 * time.Millisecond) {
		var now string
		b.eval("document.getElementById('best').innerText.replace(/\\s+/g, ' ').trim()", &now)
		if now == text && now != "?" {
			same++
		} else {
			text, same = now, 0
		}
	}
	return text
}

// TestDrawnDigits draws with real input events in Chromium.
func TestDrawnDigits(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	b := openBrowser(t, 1200, 1100)
	b.call("Page.navigate", map[string]any{"url": demoServer(t, nil) + "/"}, nil)
	b.wait("!document.getElementById('digit').hidden && document.getElementById('state').textContent === 'ready'")
	right := 0
	for i := range drawings {
		d := &drawings[i]
		b.draw(d)
		got := b.answer()
		if strings.HasPrefix(got, fmt.Sprint(d.digit, " ")) {
			right++
			t.Logf("%d: %s", d.digit, got)
		} else {
			t.Logf("%d: WRONG, taken for %s", d.digit, got)
			b.screenshot(fmt.Sprintf("wrong-%d", i))
		}
	}
	t.Logf("%d of %d drawings right", right, len(drawings))
	if right*10 < len(drawings)*9 {
		t.Errorf("%d of %d drawings right, expected 9 of 10", right, len(drawings))
	}
	b.draw(&drawings[3])
	b.answer()
	b.wait("document.querySelectorAll('.model').length >= 3 && document.querySelector('polyline.rate').getAttribute('points')")
	b.wait("document.getElementById('servertime').textContent !== '–' && document.getElementById('roundtrip').textContent !== '–'")
	b.wait("document.getElementById('plane-text').textContent.startsWith('4096 points')")
	b.screenshot("page-light")
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	b.screenshot("page-dark")
	b.resize(390, 844)
	b.touch(&drawings[5])
	if got := b.answer(); !strings.HasPrefix(got, "5 ") {
		t.Errorf("a 5 drawn with a finger was taken for %s", got)
	}
	b.screenshot("page-phone")
	if len(b.problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(b.problems, "\n"))
	}
}

// oneKey lets in whoever knows it.
func oneKey(right string) oip.Authorizer {
	return func(key string, _ oip.Access) error {
		if key == right {
			return nil
		}
		return oip.ErrUnauthenticated
	}
}

// TestAsksForKey: a server with keys makes the page ask, keep the key and go on.
func TestAsksForKey(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	b := openBrowser(t, 1000, 900)
	b.call("Page.navigate", map[string]any{"url": demoServer(t, oneKey("open sesame")) + "/"}, nil)
	give := func(key string) {
		b.wait("document.getElementById('login').open")
		b.eval(fmt.Sprintf("document.getElementById('key').value = %q, document.querySelector('#login button').click()", key), nil)
	}
	give("wrong")
	b.wait("document.getElementById('login-text').textContent.startsWith('The key was not accepted')")
	b.screenshot("login")
	give("open sesame")
	b.wait("document.querySelectorAll('.model').length === 3 && !document.getElementById('digit').hidden")
	var kept string
	b.eval("sessionStorage.getItem('salver-key')", &kept)
	if kept != "open sesame" {
		t.Errorf("kept %q", kept)
	}
	b.eval("document.getElementById('sample').click()", nil)
	if got := b.answer(); len(got) < 4 {
		t.Errorf("answer %q", got)
	}
}
