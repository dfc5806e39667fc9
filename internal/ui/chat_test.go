package ui_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/obs"
	"github.com/salver-ml/salver/internal/openaiapi"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/ui"
)

// chatServer serves a fake language model that thinks, calls a tool for the
// weather, and tells endless stories.
func chatServer(t *testing.T) (*servetest.Text, string) {
	t.Helper()
	m := servetest.NewText()
	m.Delay = 4 * time.Millisecond
	m.Answer = func(prompt string, _ int) string {
		switch last := prompt[max(strings.LastIndex(prompt, "<|im_start|>user"), 0):]; {
		case strings.Contains(last, "<|im_start|>tool"):
			return "It is sunny in Oslo."
		case strings.Contains(last, "weather"):
			return "<think>I need the weather.</think><tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"place\": \"Oslo\"}}\n</tool_call>"
		case strings.Contains(last, "story"):
			return strings.Repeat("Once upon a time. ", 1000)
		}
		return "Hello <b>you</b>, grüß Gott 🙂"
	}
	core := serve.New(serve.Options{})
	for name, b := range map[string]serve.Backend{"talker": m, "encoder": servetest.NewEncoder()} {
		if err := core.Register(name, 1, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(rest.New(core, rest.Options{Version: "test", Metrics: obs.Handler(obs.Sources{Core: core}), Pages: ui.Handler(), APIs: openaiapi.APIs(core, openaiapi.Options{})}))
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := core.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return m, s.URL
}

// say types a message and sends it.
func (b *browser) say(text string) {
	b.eval("document.getElementById('prompt').focus()", nil)
	b.call("Input.insertText", map[string]any{"text": text}, nil)
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}, nil)
	}
}

// last is the text of an element of the last message.
func (b *browser) last(selector string) (text string) {
	b.eval("[...document.querySelectorAll('.message')].at(-1).querySelector('"+selector+"').textContent", &text)
	return text
}

const idle = "document.getElementById('stop').hidden && document.querySelectorAll('.message').length === "

// A model without a chat template goes on with texts; the models' page leads to it.
func TestTextPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	m, url := chatServer(t)
	m.Template = ""
	b := openBrowser(t, 1200, 900)
	b.call("Page.navigate", map[string]any{"url": url + "/"}, nil)
	b.wait("document.querySelector('.talk:not([hidden]) a')?.href.endsWith('/chat?model=talker')")
	var tensors, curl string
	b.eval("document.querySelector('.talk:not([hidden])').parentElement.querySelector('.tensors').textContent", &tensors)
	b.eval("document.querySelector('.talk:not([hidden])').parentElement.querySelector('code').textContent", &curl)
	if tensors != "generates text: no chat template, 2,048 tokens of context" || !strings.Contains(curl, "/v1/completions") {
		t.Errorf("%q %q", tensors, curl)
	}
	b.eval("document.querySelector('.talk:not([hidden]) a').click()", nil)
	b.wait("document.getElementById('form-of')?.value === 'text' && document.getElementById('system').parentElement.hidden")
	b.say("One ")
	b.wait(idle + "2")
	b.say(" two")
	b.wait(idle + "4")
	all := m.Requests()
	const answer = "Hello <b>you</b>, grüß Gott 🙂"
	if prompt := m.Tok.Decode(all[len(all)-1].Prompt, true); prompt != "One "+answer+" two" || all[0].MaxTokens != 256 {
		t.Errorf("%q, at most %d", prompt, all[0].MaxTokens)
	}
	if got := b.last(".text"); got != answer {
		t.Errorf("%q", got)
	}
	if got := b.last(".figures"); !strings.Contains(got, "first token after") {
		t.Errorf("%q", got)
	}
	if len(b.problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(b.problems, "\n"))
	}
}

func TestChat(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	m, url := chatServer(t)
	b := openBrowser(t, 1200, 900)
	b.call("Page.navigate", map[string]any{"url": url + "/"}, nil)
	b.wait("!document.getElementById('chat-link').hidden")
	var chat string
	b.eval("document.getElementById('chat-link').href", &chat)
	b.call("Page.navigate", map[string]any{"url": chat}, nil)
	b.wait("document.getElementById('state').textContent === 'ready' && document.getElementById('model').options.length === 1")

	// An answer comes in pieces, as text and not as HTML, with its figures.
	b.eval("document.getElementById('system').value = 'Be kind.'; document.getElementById('temperature').value = '0.5'; document.getElementById('seed').value = '7'", nil)
	b.say("hi there")
	b.wait(idle + "2")
	if got := b.last(".text"); got != "Hello <b>you</b>, grüß Gott 🙂" {
		t.Errorf("%q", got)
	}
	if got := b.last(".figures"); !strings.Contains(got, "first token after") || !strings.Contains(got, "tokens/s") {
		t.Errorf("%q", got)
	}
	r := m.Requests()[0]
	if prompt := m.Tok.Decode(r.Prompt, false); r.Temperature != 0.5 || *r.Seed != 7 || !strings.Contains(prompt, "Be kind.") || !strings.Contains(prompt, "hi there") {
		t.Errorf("%+v %q", r, prompt)
	}

	// Thinking and calls are shown apart; the result of a call goes on with the conversation.
	b.eval("document.getElementById('example').click()", nil)
	b.say("the weather?")
	b.wait(idle + "4 && document.querySelector('.call')")
	if thought, name, args := b.last(".thought p"), b.last(".call h4"), b.last(".call pre"); thought != "I need the weather." || name != "Calls get_weather" || args != `{"place": "Oslo"}` {
		t.Errorf("%q %q %q", thought, name, args)
	}
	b.screenshot("chat-call")
	b.eval("document.querySelector('.call textarea').value = 'sun'; document.querySelector('.call button').click()", nil)
	b.wait(idle + "6")
	if got := b.last(".text"); got != "It is sunny in Oslo." {
		t.Errorf("%q", got)
	}
	b.screenshot("chat-light")

	// Stop ends an endless answer on the server too.
	b.say("a story")
	b.wait("[...document.querySelectorAll('.message .text')].at(-1).textContent.startsWith('Once upon')")
	b.eval("document.getElementById('stop').click()", nil)
	b.wait(idle + "8")
	if got := b.last(".figures"); !strings.HasSuffix(got, "stopped") {
		t.Errorf("%q", got)
	}
	for end := time.Now().Add(10 * time.Second); m.Aborted.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server goes on")
		}
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	b.screenshot("chat-dark")
	b.resize(390, 844)
	b.screenshot("chat-phone")
	if len(b.problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(b.problems, "\n"))
	}

	// An error is told, and the conversation can go on without it.
	b.eval("document.getElementById('tools').value = '[{\"type\":\"robot\"}]'", nil)
	b.say("again")
	b.wait("!document.getElementById('notice').hidden")
	var text string
	b.eval("document.getElementById('notice').textContent", &text)
	if !strings.Contains(text, "expected the type function") {
		t.Errorf("%q", text)
	}
}
