package audit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"time"
)

// ErrExport: that is not an export, or it is incomplete, was changed, or was signed by somebody else.
var ErrExport = errors.New("audit: the export cannot be believed")

// Anchor is a signed statement that a chain of the record stood at an entry with a hash (S43). Whoever
// has the database alone cannot make one, so he cannot write the entries before it anew.
type Anchor struct {
	Org       string    `json:"org"` // whose chain; "" is the platform's
	Seq       int64     `json:"seq"`
	Hash      []byte    `json:"hash"`
	At        time.Time `json:"at"`
	KID       string    `json:"kid"`
	Signature []byte    `json:"signature"`
}

// Text is what the signature covers.
func (a Anchor) Text() []byte {
	return fmt.Appendf(nil, "vestibule anchor 1\n%q\n%d\n%x\n%d\n", a.Org, a.Seq, a.Hash, a.At.UnixMicro())
}

// Signer signs under the key whose purpose is the record.
type Signer interface {
	SignText(text []byte) (kid string, signature []byte, err error)
}

// Anchors keeps anchors.
type Anchors interface {
	// ClaimAnchoring says whether it is this node's turn: once in every, of all nodes, one is.
	ClaimAnchoring(ctx context.Context, every time.Duration) (bool, error)
	// Unanchored lists chains that went on since their last anchor, of organizations after one in order:
	// where each stands.
	Unanchored(ctx context.Context, after string, most int) ([]Anchor, error)
	SaveAnchors(ctx context.Context, list []Anchor) error
}

const (
	// AnchorEvery is how often chains that went on are anchored.
	AnchorEvery = time.Hour
	anchorLook  = time.Minute
	anchorBatch = 200
)

// Anchorer anchors the record every hour. All fields but File are required.
type Anchorer struct {
	Store Anchors
	Keys  Signer
	Now   func() time.Time
	Log   *slog.Logger
	// File is where anchors are appended too, a line of JSON each: on another machine, or append-only, it
	// shows a record that was written anew even to whoever holds keys and database. "" is nowhere.
	File string
}

// Run anchors until ctx ends.
func (a *Anchorer) Run(ctx context.Context) {
	tick := time.NewTicker(anchorLook)
	defer tick.Stop()
	for {
		mine, err := a.Store.ClaimAnchoring(ctx, AnchorEvery)
		if err == nil && mine {
			err = a.Once(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.Log.Error("audit: the record cannot be anchored", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Once anchors every chain that went on. The file comes first: what stands there was true, whatever
// happens to the database afterwards.
func (a *Anchorer) Once(ctx context.Context) error {
	for after := ""; ; {
		list, err := a.Store.Unanchored(ctx, after, anchorBatch)
		if err != nil || len(list) == 0 {
			return err
		}
		after = list[len(list)-1].Org + "!" // which sorts before any id that begins with it
		for i := range list {
			list[i].At = a.Now().UTC().Truncate(time.Microsecond)
			if list[i].KID, list[i].Signature, err = a.Keys.SignText(list[i].Text()); err != nil {
				return err
			}
		}
		if err := a.send(list); err != nil {
			return err
		}
		if err := a.Store.SaveAnchors(ctx, list); err != nil {
			return err
		}
		if len(list) < anchorBatch {
			return nil
		}
	}
}

func (a *Anchorer) send(list []Anchor) error {
	if a.File == "" {
		return nil
	}
	f, err := os.OpenFile(a.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit: the file for anchors cannot be written: %w", err)
	}
	var text []byte
	for _, anchor := range list {
		line, err := json.Marshal(anchor)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		text = append(append(text, line...), '\n')
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit: the file for anchors cannot be written: %w", err)
	}
	return nil
}

// ReadAnchors reads a file of anchors by organization. A last line without an end was cut off by a crash
// and says nothing.
func ReadAnchors(from io.Reader) (map[string][]Anchor, error) {
	out := map[string][]Anchor{}
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var a Anchor
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, err
		}
		out[a.Org] = append(out[a.Org], a)
	}
}

// An export is lines of JSON and a last one that signs them all.

// exportEnd is the last line of an export.
type exportEnd struct {
	Signed    bool      `json:"signed"`
	Lines     int64     `json:"lines"`
	SHA256    []byte    `json:"sha256"` // of all bytes before this line
	At        time.Time `json:"at"`
	KID       string    `json:"kid"`
	Signature []byte    `json:"signature"`
}

func (e exportEnd) text() []byte {
	return fmt.Appendf(nil, "vestibule audit export 1\n%d\n%x\n%d\n", e.Lines, e.SHA256, e.At.UnixMicro())
}

// Export writes lines that its end signs.
type Export struct {
	to    *bufio.Writer
	sum   hash.Hash
	lines int64
}

// NewExport begins an export.
func NewExport(to io.Writer) *Export { return &Export{to: bufio.NewWriter(to), sum: sha256.New()} }

// Line writes one value as a line.
func (e *Export) Line(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	e.lines++
	e.sum.Write(line)
	_, err = e.to.Write(line)
	return err
}

// End signs what was written. It returns how many lines there were.
func (e *Export) End(keys Signer, now time.Time) (int64, error) {
	end := exportEnd{Signed: true, Lines: e.lines, SHA256: e.sum.Sum(nil), At: now.UTC().Truncate(time.Microsecond)}
	var err error
	if end.KID, end.Signature, err = keys.SignText(end.text()); err != nil {
		return 0, err
	}
	line, err := json.Marshal(end)
	if err != nil {
		return 0, err
	}
	if _, err := e.to.Write(append(line, '\n')); err != nil {
		return 0, err
	}
	return e.lines, e.to.Flush()
}

const maxExportLine = 8 << 20

// ReadExport gives each line of an export and checks its signature at the end: until it returns nil
// nothing of it may be believed. believed says whether a key of ours signed a text.
func ReadExport(from io.Reader, believed func(kid string, text, signature []byte) bool, line func([]byte) error) (signedAt time.Time, lines int64, err error) {
	in := bufio.NewScanner(from)
	in.Buffer(nil, maxExportLine)
	sum := sha256.New()
	var last []byte
	for in.Scan() {
		if last != nil {
			lines++
			sum.Write(last)
			sum.Write([]byte{'\n'})
			if err := line(last); err != nil {
				return signedAt, lines, err
			}
		}
		last = append(last[:0:0], in.Bytes()...)
	}
	if err := in.Err(); err != nil {
		return signedAt, lines, fmt.Errorf("%w: %w", ErrExport, err)
	}
	var end exportEnd
	if err := json.Unmarshal(last, &end); err != nil || !end.Signed {
		return signedAt, lines, fmt.Errorf("%w: its last line is no signature", ErrExport)
	}
	if end.Lines != lines || string(end.SHA256) != string(sum.Sum(nil)) || !believed(end.KID, end.text(), end.Signature) {
		return signedAt, lines, fmt.Errorf("%w: its signature does not fit what is in it", ErrExport)
	}
	return end.At, lines, nil
}
