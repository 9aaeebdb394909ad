package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var _ directory.DataKeys = (*Store)(nil)

var (
	// ErrNodesLack: a node that runs would not be able to read its secrets any more.
	ErrNodesLack = fault.New(fault.Conflict, "store.nodes_lack_key", "Not every running node has the new sealing key yet. Add its line to the key file of each node (they read it within seconds), or restart those that have the key in their environment, then run this again.")
	// ErrKeyHeld: the command was asked to change to a key that it does not have.
	ErrKeyHeld = fault.New(fault.Invalid, "store.key_not_at_hand", "The new sealing key is not at hand.")
)

// This file changes keys while everything runs. Each step may be the last before the process is killed:
// what is read decides what is left to do, so doing it again goes on where it stopped.

const (
	rewrapBatch = 100
	resealBatch = 200
	// oldKeyRest is how long a data key that was replaced stays after nothing is sealed under it: a
	// transaction on another node may have begun before.
	oldKeyRest = time.Hour
	// heldSealing is the use under which nodes tell which sealing keys they hold.
	heldSealing = "sealing"
)

// SwitchSealingKey makes a sealing key the one that wraps new data keys, if every live node holds it. It
// joins the transaction of ctx, and reports whether it was another before. RewrapDataKeys does the rest.
func (s *Store) SwitchSealingKey(ctx context.Context, to string) (changed bool, err error) {
	key, err := s.sealer.sealingKey(to)
	if err != nil {
		return false, ErrKeyHeld.With(err)
	}
	others, err := s.Others(ctx)
	if err != nil {
		return false, err
	}
	var lack []string
	for _, n := range others {
		if !slices.Contains(n.Keys, to) {
			lack = append(lack, n.ID)
		}
	}
	if len(lack) > 0 {
		return false, ErrNodesLack.Because("these nodes lack " + to + ": " + strings.Join(lack, ", "))
	}
	check, err := key.Wrap(ctx, nil, []byte(checkMark))
	if err != nil {
		return false, err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.queueForDataKeys(); err != nil {
			return err
		}
		now, err := s.SealingKeyID(ctx)
		if changed = err == nil && now != to; !changed {
			return err
		}
		if err := t.setMark(checkMark, check); err != nil {
			return err
		}
		return t.setMark(checkIDMark, []byte(to))
	})
	return changed, err
}

// RewrapDataKeys wraps every data key that is not under the current sealing key anew, some in a
// transaction. Afterwards no other sealing key opens anything. It returns how many there were.
func (s *Store) RewrapDataKeys(ctx context.Context) (int, error) {
	to, err := s.SealingKeyID(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, table := range []string{"data_keys", "old_data_keys"} {
		for {
			n, err := s.rewrapSome(ctx, table, to)
			total += n
			if err != nil {
				return total, err
			}
			if n == 0 {
				break
			}
		}
	}
	return total, nil
}

// wrappedKey is a data key as it lies.
type wrappedKey struct {
	id, scope, kek string
	wrapped, again []byte
}

func (s *Store) rewrapSome(ctx context.Context, table, to string) (int, error) {
	var list []wrappedKey
	if _, err := s.rows(ctx, "SELECT id, scope_id, kek, wrapped FROM "+table+" WHERE kek <> $1 AND kek <> $2 ORDER BY id LIMIT $3", func(r *row) {
		list = append(list, wrappedKey{id: r.text(), scope: r.text(), kek: r.text(), wrapped: r.bytes()})
	}, to, destroyed, rewrapBatch); err != nil {
		return 0, err
	}
	key, err := s.sealer.sealingKey(to)
	if err != nil {
		return 0, err
	}
	for i := range list { // outside of any transaction: a key management service is far away
		k := &list[i]
		about, err := k.about()
		if err != nil {
			return 0, err
		}
		secret, err := s.sealer.unwrap(ctx, k.kek, k.wrapped, about)
		if err != nil {
			return 0, ErrKeyWrong.With(fmt.Errorf("the data key %s: %w", k.id, err))
		}
		if k.again, err = key.Wrap(ctx, secret, about); err != nil {
			return 0, err
		}
	}
	if len(list) == 0 {
		return 0, nil
	}
	return len(list), s.write(ctx, func(_ context.Context, t *tx) error {
		for _, k := range list {
			if _, err := t.exec("UPDATE "+table+" SET wrapped = $1, kek = $2 WHERE id = $3 AND kek = $4", k.again, to, k.id, k.kek); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k wrappedKey) about() ([]byte, error) {
	var id [keyIDSize]byte
	if n, err := hex.Decode(id[:], []byte(k.id)); err != nil || n != keyIDSize {
		return nil, ErrSealed.Because("the data key " + k.id + " has a broken id")
	}
	return wrapSlot(id, k.scope), nil
}

// RotateDataKey makes a new data key for a scope: "" the platform, a realm or a top-level organization. It
// joins the transaction of ctx and reports whether the scope had one. ResealValues does the rest.
func (s *Store) RotateDataKey(ctx context.Context, scope string) (had bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.queueForDataKeys(); err != nil {
			return err
		}
		id, err := s.dataKeyID(ctx, scope)
		if had = id != ""; err != nil || !had {
			return err
		}
		if err := t.retireDataKey(id); err != nil {
			return err
		}
		_, err = s.addDataKey(ctx, t, scope)
		return err
	})
	return had, err
}

func (t *tx) retireDataKey(id string) error {
	if _, err := t.exec(`INSERT INTO old_data_keys (id, scope_id, wrapped, kek, created_at, retired_at)
		SELECT id, scope_id, wrapped, kek, created_at, $1 FROM data_keys WHERE id = $2`, t.store.now(), id); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM data_keys WHERE id = $1", id)
	return err
}

// ResealValues seals every value that lies under a replaced data key under its scope's current one, some
// in a transaction, and drops replaced keys that nothing is under and that have rested. It returns how
// many values there were.
func (s *Store) ResealValues(ctx context.Context) (int, error) {
	old, err := s.oldDataKeys(ctx)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	total := 0
	for _, c := range sealedColumns {
		n, err := s.resealColumn(ctx, c, old)
		total += n
		if err != nil {
			return total, err
		}
	}
	before := s.now().Add(-oldKeyRest)
	for id, k := range old {
		if k.retired.After(before) {
			continue
		}
		if err := s.write(ctx, func(_ context.Context, t *tx) error {
			_, err := t.exec("DELETE FROM old_data_keys WHERE id = $1 AND kek <> $2", hex.EncodeToString(id[:]), destroyed)
			return err
		}); err != nil {
			return total, err
		}
	}
	return total, nil
}

type oldDataKey struct {
	scope   string
	retired time.Time
}

func (s *Store) oldDataKeys(ctx context.Context) (map[[keyIDSize]byte]oldDataKey, error) {
	old, broken := map[[keyIDSize]byte]oldDataKey{}, false
	_, err := s.rows(ctx, "SELECT id, scope_id, retired_at FROM old_data_keys WHERE kek <> $1", func(r *row) {
		var id [keyIDSize]byte
		n, err := hex.Decode(id[:], []byte(r.text()))
		broken = broken || err != nil || n != keyIDSize
		old[id] = oldDataKey{r.text(), r.time()}
	}, destroyed)
	if err == nil && broken {
		err = ErrSealed.Because("a data key has a broken id")
	}
	return old, err
}

// sealedValue is a value as it lies.
type sealedValue struct {
	row, org string
	value    []byte
}

func (s *Store) resealColumn(ctx context.Context, c sealedColumn, old map[[keyIDSize]byte]oldDataKey) (int, error) {
	total := 0
	for after := ""; ; {
		var list []sealedValue
		n, err := s.rows(ctx, "SELECT "+c.row+", "+c.orgColumn()+", "+c.column+" FROM "+c.table+" WHERE "+c.row+" > $1 ORDER BY "+c.row+" LIMIT $2", func(r *row) {
			v := sealedValue{r.text(), r.text(), r.bytes()}
			after = v.row
			if _, ours := old[keyOf(v.value)]; ours {
				list = append(list, v)
			}
		}, after, resealBatch)
		if err != nil {
			return total, err
		}
		if len(list) > 0 {
			if err := s.write(ctx, func(ctx context.Context, t *tx) error {
				for _, v := range list {
					if err := s.resealOne(ctx, t, c, v, old[keyOf(v.value)].scope); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return total, err
			}
			total += len(list)
		}
		if n < resealBatch {
			return total, nil
		}
	}
}

// keyOf is the id of the data key that a sealed value is under; zeros where it is none.
func keyOf(sealed []byte) (id [keyIDSize]byte) {
	if len(sealed) > keyIDSize && sealed[0] == sealedForm {
		copy(id[:], sealed[1:])
	}
	return id
}

// resealOne leaves a value alone that changed meanwhile: it was sealed under the current key then.
func (s *Store) resealOne(ctx context.Context, t *tx, c sealedColumn, v sealedValue, scope string) error {
	at := c.slot(v.row, v.org)
	plain, err := s.unseal(ctx, at, v.value)
	if err != nil {
		return err
	}
	again, err := s.seal(ctx, t, scope, at, plain)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE "+c.table+" SET "+c.column+" = $1 WHERE "+c.row+" = $2 AND "+c.column+" = $3", again, v.row, v.value)
	return err
}

// tidyKeys ends a rotation that was interrupted, and drops the keys that it left. Most of the time it
// reads one empty table.
func (s *Store) tidyKeys(ctx context.Context) error {
	_, err := s.ResealValues(ctx)
	return err
}

// DestroyDataKey makes what is sealed under an organization's data keys unreadable for ever, and joins the
// transaction of ctx. Nothing is sealed for it again.
func (s *Store) DestroyDataKey(ctx context.Context, org directory.OrgID) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		// Every node drops the keys that it has in memory, and with the second kind what they opened.
		if err := errors.Join(t.queueForDataKeys(), t.touch(ofDataKey, string(org)), t.touch(ofDestroyed, string(org))); err != nil {
			return err
		}
		id, err := s.dataKeyID(ctx, string(org))
		if err != nil {
			return err
		}
		if id == "" { // the mark alone, so that none is made later
			var none [keyIDSize]byte
			rand.Read(none[:])
			_, err := t.exec("INSERT INTO old_data_keys (id, scope_id, wrapped, kek, created_at, retired_at) VALUES ($1, $2, $3, $4, $5, $5)",
				hex.EncodeToString(none[:]), org, []byte{}, destroyed, s.now())
			if err != nil {
				return err
			}
		} else if err := t.retireDataKey(id); err != nil {
			return err
		}
		_, err = t.exec("UPDATE old_data_keys SET wrapped = $1, kek = $2 WHERE scope_id = $3", []byte{}, destroyed, org)
		return err
	})
}

// AddKeyLine adds the key of one key file to another, which then holds both: nodes read it within seconds.
// It returns the key's id, and does nothing when it is there already.
func AddKeyLine(file, from string) (id string, err error) {
	added, err := keySource{file: from}.read()
	if err != nil {
		return "", ErrKeyFile.With(err)
	}
	if len(added) != 1 {
		return "", ErrKeyFile.Because(from + " holds more than one key")
	}
	have, err := keySource{file: file}.read()
	if err != nil {
		return "", ErrKeyFile.With(err)
	}
	id = added[0].ID()
	if slices.ContainsFunc(have, func(k SealingKey) bool { return k.ID() == id }) {
		return id, nil
	}
	text, err := readBoth(file, from)
	if err != nil {
		return "", ErrKeyFile.With(err)
	}
	return id, wrapFile(placeFile(file, text, os.Rename))
}

// KeepKeyLine leaves in a key file the one key with that id, and moves the others to a file beside it,
// whose name it returns: backups from their time need them. "" when there was no other.
func KeepKeyLine(file, id string) (moved string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", ErrKeyFile.With(err)
	}
	var keep, rest []string
	var name string
	for _, line := range strings.Fields(string(text)) {
		keys, err := ParseSealingKeys(line)
		if err != nil {
			return "", ErrKeyFile.With(err)
		}
		if keys[0].ID() == id {
			keep = append(keep, line)
			continue
		}
		rest, name = append(rest, line), keys[0].ID()
	}
	if len(keep) == 0 {
		return "", ErrKeyFile.Because(file + " does not hold the key " + id)
	}
	if len(rest) == 0 {
		return "", nil
	}
	moved = file + ".old-" + name
	if err := placeFile(moved, []byte(strings.Join(rest, "\n")+"\n"), os.Rename); err != nil {
		return "", ErrKeyFile.With(err)
	}
	return moved, wrapFile(placeFile(file, []byte(keep[0]+"\n"), os.Rename))
}

func wrapFile(err error) error {
	if err != nil {
		return ErrKeyFile.With(err)
	}
	return nil
}

func readBoth(file, from string) ([]byte, error) {
	a, err := os.ReadFile(file)
	b, errB := os.ReadFile(from)
	return slices.Concat(bytes.TrimSpace(a), []byte("\n"), bytes.TrimSpace(b), []byte("\n")), errors.Join(err, errB)
}

// DataKeyScopes lists whose data keys there are: "" the platform, realms, top-level organizations.
func (s *Store) DataKeyScopes(ctx context.Context) (scopes []string, err error) {
	_, err = s.rows(ctx, "SELECT scope_id FROM data_keys ORDER BY scope_id", func(r *row) { scopes = append(scopes, r.text()) })
	return scopes, err
}
