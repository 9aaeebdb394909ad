package store

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrKeyNone    = fault.New(fault.Unavailable, "store.key_none", "There is no sealing key yet, and for a shared database none is made by itself. Make one with `vestibule keys create --sealing FILE`, give the same file to every node, and keep a copy apart from the database.")
	ErrKeyMissing = fault.New(fault.Unavailable, "store.key_missing", "The sealing key of this data is missing. Put its key file back beside the data, or restore both from one backup; without it the secrets in the data cannot be read by anybody.")
	ErrKeyWrong   = fault.New(fault.Unavailable, "store.key_wrong", "The sealing key does not belong to this data. Put the right key file in its place, or restore key and data from one backup.")
	ErrKeyFile    = fault.New(fault.Unavailable, "store.key_file", "The sealing key file cannot be read or made. It must be a file that the user that runs this may read, with the one line that was written into it, or two while the key is changed.")
	ErrKeyText    = fault.New(fault.Unavailable, "store.key_text", "The sealing key in the environment is not one. It must be what stands in a key file: vestibule-key-1: and 43 characters.")
	ErrKeyExists  = fault.New(fault.Conflict, "store.key_exists", "There is a file of that name already, and a key file is never overwritten. Name another one.")
)

// SealingKey wraps data keys. Its bytes never come near the data: they are in a file, in the environment,
// or in a key management service that wraps for us. about is authenticated and has to be given again.
type SealingKey interface {
	// ID names the key to operators, and in the database beside what it wrapped. It tells nothing of
	// the key's bytes and never changes.
	ID() string
	// Wrap seals a secret of at most 32 bytes, which may be empty.
	Wrap(ctx context.Context, secret, about []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, about []byte) ([]byte, error)
}

const (
	keyPrefix   = "vestibule-key-1:"
	checkMark   = "sealing_key"    // something that the current sealing key wrapped
	checkIDMark = "sealing_key_id" // the current sealing key's id
)

// textKey is a sealing key whose bytes stand in a file or in the environment.
type textKey struct {
	id   string
	aead cipher.AEAD
}

func (k textKey) ID() string { return k.id }

func (k textKey) Wrap(_ context.Context, secret, about []byte) ([]byte, error) {
	return lock(k.aead, secret, about), nil
}

func (k textKey) Unwrap(_ context.Context, wrapped, about []byte) ([]byte, error) {
	return unlock(k.aead, wrapped, about)
}

// ParseSealingKeys reads sealing keys as a key file holds them: one for each line, the current and,
// while it is being changed, the other one.
func ParseSealingKeys(text string) ([]SealingKey, error) {
	var keys []SealingKey
	for _, word := range strings.Fields(text) {
		encoded, ok := strings.CutPrefix(word, keyPrefix)
		secret, err := base64.RawURLEncoding.DecodeString(encoded)
		if !ok || err != nil || len(secret) != chacha20poly1305.KeySize {
			return nil, errors.New("that is not a sealing key")
		}
		aead, err := chacha20poly1305.NewX(secret)
		if err != nil {
			return nil, err
		}
		keys = append(keys, textKey{keyID(secret), aead})
	}
	if len(keys) == 0 {
		return nil, errors.New("no sealing key is in it")
	}
	return keys, nil
}

// keyID names a key by a hash of its bytes. They are 256 random bits, so nothing is told of them.
func keyID(secret []byte) string {
	sum := sha256.Sum256(append([]byte("vestibule sealing key id:"), secret...))
	return hex.EncodeToString(sum[:6])
}

// NewSealingKeyFile makes a key file that its owner alone may read, and returns the key's id. A file that
// is there already is left as it is: ErrKeyExists.
func NewSealingKeyFile(file string) (id string, err error) {
	text, err := newKeyFile(file)
	if errors.Is(err, fs.ErrExist) {
		return "", ErrKeyExists.Because(file)
	}
	if err != nil {
		return "", ErrKeyFile.With(err)
	}
	keys, err := ParseSealingKeys(string(text))
	if err != nil {
		return "", err
	}
	return keys[0].ID(), nil
}

// keySource is where this process has its sealing keys from.
type keySource struct {
	given []SealingKey
	text  string
	file  string
}

func (o Options) keySource() keySource {
	file := o.KeyFile
	if file == "" && o.Path != "" {
		file = filepath.Join(filepath.Dir(o.Path), "vestibule.key")
	}
	return keySource{given: o.SealingKeys, text: o.Key, file: file}
}

func (k keySource) String() string {
	switch {
	case len(k.given) > 0:
		return "the key management service"
	case k.text != "":
		return "the environment"
	}
	return k.file
}

// read gives the keys that are there; fs.ErrNotExist when there is none.
func (k keySource) read() ([]SealingKey, error) {
	if len(k.given) > 0 {
		return k.given, nil
	}
	if k.text != "" {
		keys, err := ParseSealingKeys(k.text)
		if err != nil {
			return nil, ErrKeyText.With(err)
		}
		return keys, nil
	}
	if k.file == "" {
		return nil, fs.ErrNotExist
	}
	text, err := os.ReadFile(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, ErrKeyFile.With(err)
	}
	keys, err := ParseSealingKeys(string(text))
	if err != nil {
		return nil, ErrKeyFile.With(fmt.Errorf("%s: %w", k.file, err))
	}
	return keys, nil
}

// openKey reads the sealing keys, and makes one for data beside which it may lie and that holds nothing
// sealed yet.
func (s *Store) openKey(ctx context.Context, o Options) error {
	check, err := s.mark(ctx, checkMark)
	if err != nil {
		return err
	}
	id, err := s.mark(ctx, checkIDMark)
	if err != nil {
		return err
	}
	fresh := check == nil
	if fresh {
		n, err := s.rows(ctx, "SELECT id FROM data_keys LIMIT 1", nil)
		if err != nil {
			return err
		}
		fresh = n == 0
	}
	s.sealer.source = o.keySource()
	keys, err := s.sealer.source.firstRead(fresh, o.Path != "")
	if errors.Is(err, fs.ErrNotExist) {
		return ErrKeyMissing.Because(fmt.Sprintf("there is no key at %s%s", s.sealer.source, wanted(string(id))))
	}
	if err != nil {
		return err
	}
	s.holdKeys(keys)
	return s.checkKey(ctx, check, string(id), keys)
}

func wanted(id string) string {
	if id == "" {
		return ""
	}
	return "; the data asks for the key with the id " + id
}

func (k keySource) firstRead(fresh, beside bool) ([]SealingKey, error) {
	keys, err := k.read()
	if !errors.Is(err, fs.ErrNotExist) || !fresh {
		return keys, err
	}
	if !beside || k.file == "" {
		return nil, ErrKeyNone
	}
	if _, err := newKeyFile(k.file); err != nil && !errors.Is(err, fs.ErrExist) { // another process may be first
		return nil, ErrKeyFile.With(err)
	}
	return k.read()
}

// checkKey finds the key that the data is under, and writes down its id where that was not done.
func (s *Store) checkKey(ctx context.Context, check []byte, id string, keys []SealingKey) error {
	if check == nil {
		if err := s.claimKey(ctx, keys[0]); err != nil {
			return err
		}
		var err error
		if check, err = s.mark(ctx, checkMark); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if _, err := k.Unwrap(ctx, check, []byte(checkMark)); err != nil {
			continue
		}
		if id == k.ID() {
			return nil
		}
		return s.write(ctx, func(_ context.Context, t *tx) error { return t.setMark(checkIDMark, []byte(k.ID())) })
	}
	return ErrKeyWrong.Because(fmt.Sprintf("%s holds the key %s%s", s.sealer.source, ids(keys), wanted(id)))
}

func ids(keys []SealingKey) string {
	var list []string
	for _, k := range keys {
		list = append(list, k.ID())
	}
	return strings.Join(list, " and ")
}

// claimKey writes the check value, unless another process was first.
func (s *Store) claimKey(ctx context.Context, k SealingKey) error {
	mine, err := k.Wrap(ctx, nil, []byte(checkMark))
	if err != nil {
		return err
	}
	return s.write(ctx, func(_ context.Context, t *tx) error {
		n, err := t.exec("INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", checkMark, mine)
		if err != nil || n == 0 {
			return err
		}
		return t.setMark(checkIDMark, []byte(k.ID()))
	})
}

func (s *Store) mark(ctx context.Context, name string) (value []byte, err error) {
	_, err = s.rows(ctx, "SELECT value FROM marks WHERE name = $1", func(r *row) { value = r.bytes() }, name)
	return value, err
}

func (t *tx) setMark(name string, value []byte) error {
	_, err := t.exec("INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
}

// hold takes keys into memory. Those that are there stay: what they wrapped may be read still.
func (s *sealer) hold(keys []SealingKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := maps.Clone(s.keys)
	if held == nil {
		held = map[string]SealingKey{}
	}
	for _, k := range keys {
		held[k.ID()] = k
	}
	s.keys = held
}

// HoldSealingKey gives this process a key besides its own: the one that a command changes to.
func (s *Store) HoldSealingKey(k SealingKey) { s.holdKeys([]SealingKey{k}) }

// SealingKeyIDs are the ids of the sealing keys that this process holds. Each node tells the others, so
// that a key is not changed before everybody has the new one.
func (s *Store) SealingKeyIDs() []string {
	s.sealer.mu.RLock()
	defer s.sealer.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.sealer.keys))
}

// SealingKeyID is the id of the sealing key that wraps the data keys now.
func (s *Store) SealingKeyID(ctx context.Context) (string, error) {
	id, err := s.mark(ctx, checkIDMark)
	return string(id), err
}

// readKeys looks whether the key file holds other keys than before: a node learns of a new one without
// a restart.
func (s *Store) readKeys(context.Context) error {
	keys, err := s.sealer.source.read()
	if err != nil {
		return err // the keys in memory go on
	}
	s.holdKeys(keys)
	return nil
}

// holdKeys takes sealing keys into memory and tells the other nodes.
func (s *Store) holdKeys(keys []SealingKey) {
	s.sealer.hold(keys)
	s.Hold(heldSealing, s.SealingKeyIDs())
}

// sealingKey gives a key by its id; the key file is read again when it is not in memory.
func (s *sealer) sealingKey(id string) (SealingKey, error) {
	s.mu.RLock()
	k, ok := s.keys[id]
	s.mu.RUnlock()
	if ok {
		return k, nil
	}
	keys, err := s.source.read()
	if err != nil {
		return nil, err
	}
	s.hold(keys)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k, ok = s.keys[id]; !ok {
		return nil, ErrKeyWrong.Because("the data asks for the key with the id " + id)
	}
	return k, nil
}

// unwrap opens a data key that the sealing key kek wrapped, or any of ours where that was not said.
func (s *sealer) unwrap(ctx context.Context, kek string, wrapped, about []byte) ([]byte, error) {
	if kek != "" {
		k, err := s.sealingKey(kek)
		if err != nil {
			return nil, err
		}
		return k.Unwrap(ctx, wrapped, about)
	}
	s.mu.RLock()
	keys := s.keys
	s.mu.RUnlock()
	for _, k := range keys {
		if secret, err := k.Unwrap(ctx, wrapped, about); err == nil {
			return secret, nil
		}
	}
	return nil, errors.New("no sealing key at hand opens it")
}

func newKeyFile(file string) (text []byte, err error) {
	var secret [chacha20poly1305.KeySize]byte
	rand.Read(secret[:])
	text = []byte(keyPrefix + base64.RawURLEncoding.EncodeToString(secret[:]) + "\n")
	return text, placeFile(file, text, os.Link)
}

// placeFile puts a file that its owner alone may read in its place when it is whole and on the disk: a
// crash must not leave half a key. place is os.Link, which overwrites nothing, or os.Rename.
func placeFile(file string, text []byte, place func(from, to string) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := place(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes a new name in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // not every system can; those that cannot need not
	return d.Close()
}
