package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrBackupFile = fault.New(fault.Unavailable, "store.backup_file", "The backup cannot be written there. It must be a file that is not there yet, in a directory with room, where the user that runs this may write.")
	ErrArchive    = fault.New(fault.Invalid, "store.backup_damaged", "That is not a backup, or it is incomplete or was changed. Nothing was restored. Take another one.")
	ErrArchiveNew = fault.New(fault.Conflict, "store.backup_newer", "The backup was made by a newer version, which keeps things that this version does not know. Restore it with that version or a later one. Nothing was restored.")
	ErrArchiveKey = fault.New(fault.Unavailable, "store.backup_key", "The sealing key that this backup is under is not at hand, and without it nobody can read the secrets in it. Put its key file where --key-file says, or name it there. Nothing was restored.")
)

// A backup is one file of lines of JSON, compressed: what it is (manifest), then for each table its
// columns and its rows, each an array, and at the end a check of everything before it. It is the same for
// every database, so that one engine's backup restores on another. The sealing key is never in it. The
// check is an HMAC under a key that the sealing key wraps, so that a backup that was changed, or that lacks
// its end, is refused by whoever may read it.

const backupForm = "vestibule-backup-1"

// Manifest says what a backup is.
type Manifest struct {
	Form   string    `json:"backup"`
	At     time.Time `json:"at"`
	Schema int64     `json:"schema"` // the number of the last migration
	Needs  int64     `json:"needs"`  // the oldest schema that a program must know to use it
	Key    string    `json:"sealing_key"`
	Check  []byte    `json:"check_key"` // wrapped by the sealing key
	// Chains is how many chains the record has, and Heads a hash of where they end.
	Chains int    `json:"chains"`
	Heads  string `json:"heads"`
	// Tables are the tables in their order.
	Tables []table `json:"tables"`

	Rows int64 `json:"-"` // how many a verified backup holds
}

type backupEnd struct {
	Rows  int64  `json:"rows"`
	Check []byte `json:"check"`
}

var backupAbout = []byte("vestibule backup check key")

// archiveWriter writes lines and hashes them.
type archiveWriter struct {
	to   io.Writer
	mac  hash.Hash
	rows int64
	line bytes.Buffer
	enc  *json.Encoder
}

func newArchiveWriter(to io.Writer, key []byte) *archiveWriter {
	w := &archiveWriter{to: to, mac: hmac.New(sha256.New, key)}
	w.enc = json.NewEncoder(&w.line)
	w.enc.SetEscapeHTML(false)
	return w
}

func (w *archiveWriter) write(v any) error {
	w.line.Reset()
	if err := w.enc.Encode(v); err != nil {
		return err
	}
	w.mac.Write(w.line.Bytes())
	_, err := w.to.Write(w.line.Bytes())
	return err
}

// Backup writes everything that lasts, as it is at one moment, while everybody goes on. It needs no more
// memory for more data.
func (s *Store) Backup(ctx context.Context, to io.Writer) (Manifest, error) {
	var m Manifest
	err := s.db.(snapshotter).snapshot(ctx, func(at snapshot) (err error) {
		key := make([]byte, sha256.Size)
		rand.Read(key)
		if m, err = s.manifest(ctx, at, key); err != nil {
			return err
		}
		w := newArchiveWriter(to, key)
		if err := w.write(m); err != nil {
			return err
		}
		for _, t := range m.Tables {
			if err := w.write(map[string]string{"table": t.Name}); err != nil {
				return err
			}
			err := at.each(t, func(values []any) error {
				if w.rows++; w.rows%backupPage == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
				return w.write(values)
			})
			if err != nil {
				return err
			}
		}
		m.Rows = w.rows
		end := backupEnd{Rows: w.rows, Check: w.mac.Sum(nil)}
		return w.write(end)
	})
	return m, err
}

func (s *Store) manifest(ctx context.Context, at snapshot, check []byte) (Manifest, error) {
	m := Manifest{Form: backupForm, At: s.now().UTC(), Schema: schema}
	var key string
	_, err := at.wire.rows("SELECT value FROM marks WHERE name = $1", func(r *row) { key = string(r.bytes()) }, []any{checkIDMark})
	if err != nil {
		return m, err
	}
	m.Key = key
	k, err := s.sealer.sealingKey(m.Key)
	if err != nil {
		return m, err
	}
	if m.Check, err = k.Wrap(ctx, check, backupAbout); err != nil {
		return m, err
	}
	if _, err = at.wire.rows("SELECT n FROM counters WHERE name = 'schema_needs'", func(r *row) { m.Needs = r.int() }, nil); err != nil {
		return m, err
	}
	sum := sha256.New()
	m.Chains, err = at.wire.rows("SELECT org_id, seq, hash FROM audit_heads ORDER BY org_id", func(r *row) {
		fmt.Fprintf(sum, "%s %d %x\n", r.text(), r.int(), r.bytes())
	}, nil)
	if err != nil {
		return m, err
	}
	m.Heads = hex.EncodeToString(sum.Sum(nil))
	m.Tables, err = at.tables()
	return m, err
}

// BackupTo makes a backup file, which its owner alone may read, whole or not at all. A file that is there
// is never overwritten.
func (s *Store) BackupTo(ctx context.Context, file string) (m Manifest, err error) {
	if _, err := os.Lstat(file); err == nil {
		return m, ErrBackupFile.Because(file + " is there already")
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".backup-*") // 0600
	if err != nil {
		return m, ErrBackupFile.With(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<18)
	zip := gzip.NewWriter(out)
	if m, err = s.Backup(ctx, zip); err != nil {
		if _, disk := errors.AsType[*fs.PathError](err); disk {
			err = ErrBackupFile.With(err)
		}
		return m, err
	}
	if err := errors.Join(zip.Close(), out.Flush(), f.Sync(), f.Close()); err != nil {
		return m, ErrBackupFile.With(err)
	}
	if err := os.Link(f.Name(), file); err != nil { // which overwrites nothing
		return m, ErrBackupFile.With(err)
	}
	return m, syncDir(filepath.Dir(file))
}

const maxArchiveLine = 256 << 20

// archiveReader reads lines and hashes them.
type archiveReader struct {
	from  *bufio.Reader
	mac   hash.Hash
	whole []byte
}

// line gives the next line without its end; it is good until the next.
func (r *archiveReader) line() ([]byte, error) {
	r.whole = r.whole[:0]
	for {
		part, err := r.from.ReadSlice('\n')
		r.whole = append(r.whole, part...)
		switch {
		case err == nil:
			return r.whole, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(r.whole) < maxArchiveLine:
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// archive is what a reader of a backup is given.
type archive struct {
	table func(t table) error
	row   func(t table, values []any) error
}

var safeName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// readArchive reads a backup to its end, and gives what is in it. Until it returns nil nothing of it may be
// believed.
func readArchive(ctx context.Context, file string, keys keySource, use archive) (m Manifest, err error) {
	f, err := os.Open(file)
	if err != nil {
		return m, ErrArchive.With(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<18))
	if err != nil {
		return m, ErrArchive.With(err)
	}
	r := &archiveReader{from: bufio.NewReaderSize(zip, 1<<16)}
	first, err := r.line()
	if err != nil {
		return m, ErrArchive.With(err)
	}
	if m, err = readManifest(first); err != nil {
		return m, err
	}
	check, err := checkKeyOf(ctx, m, keys)
	if err != nil {
		return m, err
	}
	r.mac = hmac.New(sha256.New, check)
	r.mac.Write(first)
	for _, t := range m.Tables {
		if err := r.startOf(t); err != nil {
			return m, err
		}
		if err := use.table(t); err != nil {
			return m, err
		}
		if err := r.rowsOf(ctx, t, &m, use); err != nil {
			return m, err
		}
	}
	return m, r.end(m)
}

func readManifest(line []byte) (m Manifest, err error) {
	if err := json.Unmarshal(line, &m); err != nil || m.Form != backupForm {
		return m, ErrArchive.Because("it does not begin as a backup does")
	}
	if m.Schema > schema {
		return m, ErrArchiveNew.With(fmt.Errorf("it has schema %d, this program knows %d", m.Schema, schema))
	}
	for _, t := range m.Tables {
		for _, name := range append(t.names(), t.Name) {
			if !safeName.MatchString(name) {
				return m, ErrArchive.Because("a name in it is none of ours")
			}
		}
	}
	return m, nil
}

func checkKeyOf(ctx context.Context, m Manifest, source keySource) ([]byte, error) {
	needs := fmt.Sprintf("it needs the sealing key with the id %s", m.Key)
	keys, err := source.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrArchiveKey.Because(fmt.Sprintf("%s; there is none at %s", needs, source))
	}
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.ID() != m.Key {
			continue
		}
		check, err := k.Unwrap(ctx, m.Check, backupAbout)
		if err != nil {
			return nil, ErrArchive.Because("its check does not open")
		}
		return check, nil
	}
	return nil, ErrArchiveKey.Because(fmt.Sprintf("%s; %s holds %s", needs, source, ids(keys)))
}

func (r *archiveReader) startOf(t table) error {
	var head struct {
		Table string `json:"table"`
	}
	line, err := r.line()
	if err != nil {
		return ErrArchive.With(err)
	}
	if err := json.Unmarshal(line, &head); err != nil || head.Table != t.Name {
		return ErrArchive.Because("the table " + t.Name + " is missing")
	}
	r.mac.Write(line)
	return nil
}

// rowsOf reads the rows of a table, up to what is no row.
func (r *archiveReader) rowsOf(ctx context.Context, t table, m *Manifest, use archive) error {
	for {
		next, err := r.from.Peek(1)
		if err != nil {
			return ErrArchive.With(err)
		}
		if next[0] != '[' {
			return nil
		}
		line, err := r.line()
		if err != nil {
			return ErrArchive.With(err)
		}
		r.mac.Write(line)
		values, err := t.values(line)
		if err != nil {
			return ErrArchive.With(fmt.Errorf("%s: %w", t.Name, err))
		}
		if m.Rows++; m.Rows%backupPage == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := use.row(t, values); err != nil {
			return err
		}
	}
}

// values reads a row.
func (t table) values(line []byte) ([]any, error) {
	var cells []json.RawMessage
	if err := json.Unmarshal(line, &cells); err != nil {
		return nil, err
	}
	if len(cells) != len(t.Columns) {
		return nil, fmt.Errorf("a row has %d values, not %d", len(cells), len(t.Columns))
	}
	out := make([]any, len(cells))
	for i, c := range t.Columns {
		var err error
		switch c.Type {
		case "int":
			out[i], err = strconv.ParseInt(string(cells[i]), 10, 64)
		case "text":
			var v string
			err = json.Unmarshal(cells[i], &v)
			out[i] = v
		case "bytes":
			v := []byte{}
			err = json.Unmarshal(cells[i], &v)
			out[i] = v
		default:
			err = fmt.Errorf("the column %s has an unknown type", c.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// end checks everything that was read.
func (r *archiveReader) end(m Manifest) error {
	line, err := r.line()
	if err != nil {
		return ErrArchive.With(err)
	}
	var end backupEnd
	if err := json.Unmarshal(line, &end); err != nil || end.Rows != m.Rows || !hmac.Equal(end.Check, r.mac.Sum(nil)) {
		return ErrArchive.Because("its check does not fit what is in it")
	}
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) { // and reads gzip's own check
		return ErrArchive.Because("something follows its end")
	}
	return nil
}
