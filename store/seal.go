package store

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrKeyMissing = fault.New(fault.Unavailable, "store.key_missing", "The sealing key of this data is missing. Put its key file back beside the data, or restore both from one backup; without it the secrets in the data cannot be read by anybody.")
	ErrKeyWrong   = fault.New(fault.Unavailable, "store.key_wrong", "The sealing key does not belong to this data. Put the right key file in its place, or restore key and data from one backup.")
	ErrKeyFile    = fault.New(fault.Unavailable, "store.key_file", "The sealing key file cannot be read or made. It must be a file that the user that runs this may read, with the one line that was written into it.")
	// ErrSealed: a sealed value does not open where it lies. Somebody moved or changed it.
	ErrSealed = fault.New(fault.Internal, "store.sealed", "Something broke on our side.")
)

// Envelope encryption (S24). The sealing key lies in a file beside the data, never in it, and wraps one
// data key for each realm, each top-level organization and the platform (scope ""). A data key seals
// values with XChaCha20-Poly1305 under a random 192-bit nonce; where a value belongs is its associated
// data, so that it opens nowhere else.

const (
	keyPrefix  = "vestibule-key-1:"
	sealedForm = 1 // the first byte of everything sealed
	keyIDSize  = 16
	checkMark  = "sealing_key"
)

// sealer holds the sealing key and the data keys that were used.
type sealer struct {
	key  cipher.AEAD
	mu   sync.RWMutex
	data map[[keyIDSize]byte]cipher.AEAD
}

// slot is where a sealed value belongs.
type slot struct{ table, column, row, org string }

// bytes are unambiguous: each part is preceded by its length.
func (p slot) bytes() []byte {
	var b []byte
	for _, s := range []string{p.table, p.column, p.row, p.org} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// openKey reads the sealing key, and makes it for data that holds nothing sealed yet.
func (s *Store) openKey(ctx context.Context, file string) error {
	check, err := s.mark(ctx, checkMark)
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
	secret, err := keyFile(file, fresh)
	if err != nil {
		return err
	}
	aead, err := chacha20poly1305.NewX(secret)
	if err != nil {
		return ErrKeyFile.With(err)
	}
	s.sealer = &sealer{key: aead, data: map[[keyIDSize]byte]cipher.AEAD{}}
	if check == nil {
		if check, err = s.claimKey(ctx); err != nil {
			return err
		}
	}
	if _, err := unlock(aead, check, []byte(checkMark)); err != nil {
		return ErrKeyWrong.Because(file)
	}
	return nil
}

// claimKey writes the check value, unless another process was first.
func (s *Store) claimKey(ctx context.Context) ([]byte, error) {
	var check []byte
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		mine := lock(s.sealer.key, nil, []byte(checkMark))
		if _, err := t.exec("INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", checkMark, mine); err != nil {
			return err
		}
		var err error
		check, err = s.mark(ctx, checkMark)
		return err
	})
	if err != nil {
		return nil, err
	}
	return check, nil
}

func (s *Store) mark(ctx context.Context, name string) (value []byte, err error) {
	_, err = s.rows(ctx, "SELECT value FROM marks WHERE name = $1", func(r *row) { value = r.bytes() }, name)
	return value, err
}

// keyFile reads the key; where it is missing and may be made, it makes it, on the disk before it is used.
func keyFile(file string, make bool) ([]byte, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil, ErrKeyMissing.Because(file)
		}
		if text, err = newKeyFile(file); errors.Is(err, fs.ErrExist) {
			text, err = os.ReadFile(file) // another process was first
		}
	}
	if err != nil {
		return nil, ErrKeyFile.With(err)
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), keyPrefix)
	secret, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || len(secret) != chacha20poly1305.KeySize {
		return nil, ErrKeyFile.Because(file + " does not hold a sealing key")
	}
	return secret, nil
}

func newKeyFile(file string) (text []byte, err error) {
	var secret [chacha20poly1305.KeySize]byte
	rand.Read(secret[:])
	text = []byte(keyPrefix + base64.RawURLEncoding.EncodeToString(secret[:]) + "\n")
	// Linked into place when whole: a crash must not leave half a key.
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), file); err != nil {
		return nil, err
	}
	return text, syncDir(filepath.Dir(file))
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

func lock(key cipher.AEAD, plain, about []byte) []byte {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+key.Overhead())
	rand.Read(nonce)
	return key.Seal(nonce, nonce, plain, about)
}

func unlock(key cipher.AEAD, sealed, about []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, errors.New("too short")
	}
	return key.Open(nil, sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:], about)
}

// seal seals a value for its slot under the data key of scope, which is made when it is the first.
func (s *Store) seal(ctx context.Context, t *tx, scope string, at slot, plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return []byte{}, nil
	}
	id, err := s.dataKeyOf(ctx, t, scope)
	if err != nil {
		return nil, err
	}
	key, err := s.dataKey(ctx, id)
	if err != nil {
		return nil, err
	}
	out := append([]byte{sealedForm}, id[:]...)
	return append(out, lock(key, plain, at.bytes())...), nil
}

// unseal opens what seal made.
func (s *Store) unseal(ctx context.Context, at slot, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	if len(sealed) < 1+keyIDSize || sealed[0] != sealedForm {
		return nil, ErrSealed.Because(at.table + "." + at.column + " holds something that was not sealed")
	}
	key, err := s.dataKey(ctx, [keyIDSize]byte(sealed[1:1+keyIDSize]))
	if err != nil {
		return nil, err
	}
	plain, err := unlock(key, sealed[1+keyIDSize:], at.bytes())
	if err != nil {
		return nil, ErrSealed.With(fmt.Errorf("%s.%s of %s does not open where it lies", at.table, at.column, at.row))
	}
	return plain, nil
}

func wrapSlot(id [keyIDSize]byte, scope string) []byte {
	return slot{"data_keys", "wrapped", hex.EncodeToString(id[:]), scope}.bytes()
}

// dataKeyOf gives the id of the scope's data key.
func (s *Store) dataKeyOf(ctx context.Context, t *tx, scope string) (id [keyIDSize]byte, err error) {
	var text string
	n, err := s.rows(ctx, "SELECT id FROM data_keys WHERE scope_id = $1", func(r *row) { text = r.text() }, scope)
	if err != nil {
		return id, err
	}
	if n == 1 {
		_, err := hex.Decode(id[:], []byte(text))
		return id, err
	}
	var secret [chacha20poly1305.KeySize]byte
	rand.Read(id[:])
	rand.Read(secret[:])
	_, err = t.exec("INSERT INTO data_keys (id, scope_id, wrapped, created_at) VALUES ($1, $2, $3, $4)",
		hex.EncodeToString(id[:]), scope, lock(s.sealer.key, secret[:], wrapSlot(id, scope)), s.now())
	return id, err
}

// dataKey unwraps a data key by its id. Ids are random, so one that was never committed does no harm
// in memory.
func (s *Store) dataKey(ctx context.Context, id [keyIDSize]byte) (cipher.AEAD, error) {
	s.sealer.mu.RLock()
	key, ok := s.sealer.data[id]
	s.sealer.mu.RUnlock()
	if ok {
		return key, nil
	}
	var scope string
	var wrapped []byte
	if err := s.one(ctx, ErrSealed.Because("its data key is gone"), "SELECT scope_id, wrapped FROM data_keys WHERE id = $1",
		func(r *row) { scope, wrapped = r.text(), r.bytes() }, hex.EncodeToString(id[:])); err != nil {
		return nil, err
	}
	secret, err := unlock(s.sealer.key, wrapped, wrapSlot(id, scope))
	if err != nil {
		return nil, ErrSealed.Because("its data key does not unwrap")
	}
	if key, err = chacha20poly1305.NewX(secret); err != nil {
		return nil, ErrSealed.With(err)
	}
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	room(s.sealer.data, cacheLimit)
	s.sealer.data[id] = key
	return key, nil
}
