package reply

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestJSON(t *testing.T) {
	w := httptest.NewRecorder()
	JSON(w, 418, map[string]string{"a": "<b>&"})
	if got := w.Body.String(); w.Code != 418 || got != `{"a":"<b>&"}` || w.Header().Get("Content-Length") != "12" {
		t.Errorf("%d %s %v", w.Code, got, w.Header())
	}
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		s := Events(w)
		time.Sleep(beatAfter - 1)
		if s.Began() {
			t.Error("it began by itself")
		}
		time.Sleep(2)
		s.Send(1)
		s.SendAs("done", "x\ny")
		s.SendText("[DONE]")
		time.Sleep(beatAfter + 1)
		s.Close()
		time.Sleep(9 * beatAfter)
		want := ": waiting\n\ndata: 1\n\nevent: done\ndata: \"x\\ny\"\n\ndata: [DONE]\n\n: waiting\n\n"
		if got := w.Body.String(); got != want || !w.Flushed || w.Header().Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Errorf("%q\nexpected %q", got, want)
		}
	})
}

func TestLines(t *testing.T) {
	w := httptest.NewRecorder()
	s := Lines(w)
	s.Send(map[string]int{"a": 1})
	s.Send("b")
	s.Close()
	if got := w.Body.String(); got != "{\"a\":1}\n\"b\"\n" || w.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%q", got)
	}
}

type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

// The first error stays, so that a generation ends when its client has gone.
func TestBroken(t *testing.T) {
	s := Events(broken{httptest.NewRecorder()})
	defer s.Close()
	first, second := s.Send(1), s.Send(2)
	if !errors.Is(first, ErrGone) || first != second {
		t.Errorf("%v, then %v", first, second)
	}
}
