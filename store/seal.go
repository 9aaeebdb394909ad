package store

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrSealed: a sealed value does not open where it lies. Somebody moved or changed it.
	ErrSealed = fault.New(fault.Internal, "store.sealed", "Something broke on our side.")
	// ErrDestroyed: the data key was destroyed with its organization; nothing opens what it sealed.
	ErrDestroyed = fault.New(fault.NotFound, "store.key_destroyed", "The secrets of this organization were destroyed. They cannot be read or made again.")
)

// Envelope encryption (S24). The sealing key lies outside the data, never in it (sealkey.go), and wraps one
// data key for each realm, each top-level organization and the platform (scope ""). A data key seals
// values with XChaCha20-Poly1305 under a random 192-bit nonce; where a value belongs is its associated
// data, so that it opens nowhere else. sealed.go lists every column that holds such values.

const (
	sealedForm = 1 // the first byte of everything sealed
	keyIDSize  = 16
	// destroyed stands in place of the sealing key's id where a data key was destroyed.
	destroyed = "destroyed"
)

// sealer holds the sealing keys, and the data keys and secrets that were used.
type sealer struct {
	source keySource

	mu      sync.RWMutex
	keys    map[string]SealingKey // by id; replaced, never changed
	data    map[[keyIDSize]byte]cipher.AEAD
	secrets map[string][]byte
}

// drop forgets what data keys opened when one was destroyed; which is rare, so it is all of it.
func (s *sealer) drop(string) { s.clear() }

func (s *sealer) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.data)
	clear(s.secrets)
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

// dataKeyOf gives the id of the scope's data key, and makes it when there is none.
func (s *Store) dataKeyOf(ctx context.Context, t *tx, scope string) (id [keyIDSize]byte, err error) {
	text, err := s.dataKeyID(ctx, scope)
	if err == nil && text == "" {
		text, err = s.makeDataKey(ctx, t, scope)
	}
	if err != nil {
		return id, err
	}
	_, err = hex.Decode(id[:], []byte(text))
	return id, err
}

func (s *Store) dataKeyID(ctx context.Context, scope string) (id string, err error) {
	_, err = s.rows(ctx, "SELECT id FROM data_keys WHERE scope_id = $1", func(r *row) { id = r.text() }, scope)
	return id, err
}

// makeDataKey makes the first data key of a scope.
func (s *Store) makeDataKey(ctx context.Context, t *tx, scope string) (string, error) {
	if err := t.queueForDataKeys(); err != nil {
		return "", err
	}
	if id, err := s.dataKeyID(ctx, scope); err != nil || id != "" {
		return id, err
	}
	n, err := s.rows(ctx, "SELECT id FROM old_data_keys WHERE scope_id = $1 AND kek = $2", nil, scope, destroyed)
	if err != nil {
		return "", err
	}
	if n > 0 {
		return "", ErrDestroyed.Because("the data key of " + scope)
	}
	return s.addDataKey(ctx, t, scope)
}

// addDataKey makes a data key under the sealing key that is current in this transaction.
func (s *Store) addDataKey(ctx context.Context, t *tx, scope string) (string, error) {
	kek, err := s.SealingKeyID(ctx)
	if err != nil {
		return "", err
	}
	key, err := s.sealer.sealingKey(kek)
	if err != nil {
		return "", err
	}
	var id [keyIDSize]byte
	var secret [chacha20poly1305.KeySize]byte
	rand.Read(id[:])
	rand.Read(secret[:])
	wrapped, err := key.Wrap(ctx, secret[:], wrapSlot(id, scope))
	if err != nil {
		return "", err
	}
	text := hex.EncodeToString(id[:])
	_, err = t.exec("INSERT INTO data_keys (id, scope_id, wrapped, kek, created_at) VALUES ($1, $2, $3, $4, $5)",
		text, scope, wrapped, kek, s.now())
	return text, err
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
	before := s.caches.generation.Load()
	var scope, kek string
	var wrapped []byte
	if err := s.one(ctx, ErrSealed.Because("its data key is gone"), `SELECT scope_id, wrapped, kek FROM data_keys WHERE id = $1
		UNION ALL SELECT scope_id, wrapped, kek FROM old_data_keys WHERE id = $1`,
		func(r *row) { scope, wrapped, kek = r.text(), r.bytes(), r.text() }, hex.EncodeToString(id[:])); err != nil {
		return nil, err
	}
	if kek == destroyed {
		return nil, ErrDestroyed.Because("the data key of " + scope)
	}
	secret, err := s.sealer.unwrap(ctx, kek, wrapped, wrapSlot(id, scope))
	if err != nil {
		return nil, ErrSealed.With(fmt.Errorf("its data key does not unwrap: %w", err))
	}
	if key, err = chacha20poly1305.NewX(secret); err != nil {
		return nil, ErrSealed.With(err)
	}
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	if s.caches.generation.Load() == before { // else it may have been destroyed since
		room(s.sealer.data, cacheLimit)
		s.sealer.data[id] = key
	}
	return key, nil
}

func newSealer() *sealer {
	return &sealer{data: map[[keyIDSize]byte]cipher.AEAD{}, secrets: map[string][]byte{}}
}

// queueForDataKeys comes first in every transaction that makes data keys, or changes what wraps them:
// whoever does so on another node waits here, and then reads what the one before it wrote.
func (t *tx) queueForDataKeys() error {
	_, err := t.exec("UPDATE counters SET n = n + 1 WHERE name = 'data_keys'")
	return err
}
