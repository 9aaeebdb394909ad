package browsertest

// This file holds what a person does to a page: press, fill, choose. Elements are found in the page by
// a script and pressed with the browser's own mouse and keyboard, so what is covered, disabled or off
// the screen cannot be pressed.

import (
	_ "embed"
	"encoding/json"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed find.js
var finder string

// found is the finder's answer.
type found struct {
	X, Y   float64
	Text   string
	Value  string
	Reason string // why there is nothing; "" when there is
	Final  bool   // waiting will not help
}

// Click presses what carries this text (a button, a link, a label …) or, where nothing does, what this
// CSS selector means, and waits until the page that follows has loaded.
func (p *Page) Click(what string) {
	p.t.Helper()
	p.press(p.poll("click", what, ""))
	p.settle()
}

// DoubleClick presses what Click would, and again as soon as the browser has sent what the first press
// asked for: the impatient person whose form arrives twice.
func (p *Page) DoubleClick(what string) {
	p.t.Helper()
	at, sent := p.poll("click", what, ""), len(p.Requests())
	p.press(at)
	for end := time.Now().Add(time.Second); len(p.Requests()) == sent && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	p.press(at)
	p.settle()
}

func (p *Page) press(at found) {
	p.t.Helper()
	ctx, cancel := p.bounded()
	defer cancel()
	p.log.stir()
	send := func(kind input.DispatchMouseEventType, button input.MouseButton, count int64) {
		_, err := chromedp.Call(ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: kind, X: at.X, Y: at.Y, Button: button, ClickCount: count})
		p.must(err, "move the mouse")
	}
	send(input.DispatchMouseEventTypeMouseMoved, input.MouseButtonNone, 0)
	send(input.DispatchMouseEventTypeMousePressed, input.MouseButtonLeft, 1)
	send(input.DispatchMouseEventTypeMouseReleased, input.MouseButtonLeft, 1)
	p.log.stir()
}

// Fill types value into the field with this label, name or placeholder, or that this CSS selector means.
// What was in it is replaced. A select takes the option with this text or value.
func (p *Page) Fill(what, value string) {
	p.t.Helper()
	if at := p.poll("fill", what, value); at.Value == value {
		return
	}
	if value == "" {
		p.Press("Delete")
	} else {
		ctx, cancel := p.bounded()
		defer cancel()
		_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: value})
		p.must(err, "type into "+what)
	}
	if got := p.poll("value", what, ""); got.Value != value {
		p.t.Fatalf("browser: %q was typed into %q, which now holds %q", value, what, got.Value)
	}
}

// Value is what a field holds.
func (p *Page) Value(what string) string { p.t.Helper(); return p.poll("value", what, "").Value }

// Press presses a key ("Enter", "Tab", "Escape", "Delete") where the focus is.
func (p *Page) Press(key string) {
	p.t.Helper()
	codes := map[string]int64{"Enter": 13, "Tab": 9, "Escape": 27, "Delete": 46, "Space": 32, "ArrowDown": 40, "ArrowUp": 38}
	code, ok := codes[key]
	if !ok {
		p.t.Fatalf("browser: no key is called %q here; add it to Press", key)
	}
	text := map[string]string{"Enter": "\r", "Space": " "}[key]
	ctx, cancel := p.bounded()
	defer cancel()
	p.log.stir()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		_, err := chromedp.Call(ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: kind, Key: key, Code: key, WindowsVirtualKeyCode: code, Text: text})
		p.must(err, "press "+key)
		text = ""
	}
	p.settle()
}

// poll asks the finder until it finds; what it does besides is its own business (see find.js).
func (p *Page) poll(verb, what, value string) found {
	p.t.Helper()
	args, _ := json.Marshal([]string{verb, what, value})
	script := "(" + finder + ").apply(null, " + string(args) + ")"
	for end := time.Now().Add(p.patience / 3); ; time.Sleep(25 * time.Millisecond) {
		at := eval[found](p, script)
		if at.Reason == "" {
			return at
		}
		if at.Final || time.Now().After(end) {
			p.t.Fatalf("browser: could not %s %q at %s: %s\nThe page shows:\n%s", verb, what, p.URL(), at.Reason, p.Text())
		}
	}
}

// Eval runs an expression in the page and decodes its value into out, which may be nil.
func (p *Page) Eval(expression string, out any) {
	p.t.Helper()
	raw := eval[json.RawMessage](p, expression)
	if out != nil {
		p.must(json.Unmarshal(raw, out), "decode the value of "+expression)
	}
}

// eval runs an expression, waiting for a promise. A page that leaves while it runs is asked again.
func eval[T any](p *Page, expression string) T {
	p.t.Helper()
	var value T
	yes := true
	for end := time.Now().Add(p.patience); ; time.Sleep(25 * time.Millisecond) {
		ctx, cancel := p.bounded()
		res, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{
			Expression: expression, AwaitPromise: &yes, ReturnByValue: &yes})
		cancel()
		switch {
		case err != nil && (p.ctx.Err() != nil || time.Now().After(end)):
			p.t.Fatalf("browser: could not ask the page: %v", err)
		case err != nil:
			continue
		case res.ExceptionDetails != nil:
			p.t.Fatalf("browser: the page threw: %s", thrown(res.ExceptionDetails))
		}
		if len(res.Result.Value) > 0 {
			p.must(json.Unmarshal(res.Result.Value, &value), "decode a value of the page")
		}
		return value
	}
}
