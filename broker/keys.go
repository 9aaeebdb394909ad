package broker

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrKeyNotFound = fault.New(fault.NotFound, "broker.key_not_found", "There is no signing key with that id.")
	ErrKeyAlg      = fault.New(fault.Invalid, "broker.key_algorithm", "No signing keys of that algorithm are in use here.")
	ErrKeyWaiting  = fault.New(fault.Conflict, "broker.key_waiting", "A new key of that algorithm is published already and will take over by itself. `vestibule keys list` says when.")
	// ErrNoKey: nothing signs with that algorithm now, for the seconds between the revocation of a key
	// and the moment when every node has its successor.
	ErrNoKey = fault.New(fault.Unavailable, "broker.no_key", "The signing keys are being changed. Try again in a few seconds.")
)

// Key is a signing key. Its states are times, not events (S25), by the database's clock: published from
// CreatedAt, signing from ActiveAt if every live node had it by then (ReadyAt), no more from RetireAt,
// out of the JWKS at ExpiresAt. Zero RetireAt and ExpiresAt: not planned. A key goes on signing beyond its
// RetireAt as long as its successor is not ready.
type Key struct {
	KID       string
	Use       string // "oidc", "anchor"; tokens, SAML, logout and audit anchors never share keys
	Alg       string // ES256, RS256, EdDSA
	Private   []byte // PKCS #8, or what Keyring.Open understands; the store seals it
	CreatedAt time.Time
	ReadyAt   time.Time // since when every live node has it; zero: not yet, so it does not sign
	ActiveAt  time.Time
	RetireAt  time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero: good
}

// Keys keeps signing keys. They are the platform's.
type Keys interface {
	// Keys lists the keys of a use, oldest first. Private parts are shared: nobody may change them.
	Keys(ctx context.Context, use string) ([]Key, error)
	// UpdateKeys gives fn the keys of a use and stores what it returns: new keys, and changed times of
	// those that are there. Of many nodes that do so at once each sees what the one before it stored.
	// fn may run twice.
	UpdateKeys(ctx context.Context, use string, fn func(list []Key) ([]Key, error)) error
}

// Node is another running node, and what keys it told that it holds: key ids of signing keys, and ids of
// sealing keys.
type Node struct {
	ID   string
	Keys []string
}

// Nodes knows the nodes of this installation. Live is who was seen within ten seconds by database time.
type Nodes interface {
	// Clock is the database's time.
	Clock(ctx context.Context) (time.Time, error)
	// Others lists the live nodes but this one.
	Others(ctx context.Context) ([]Node, error)
	// Hold tells the others, with the next heartbeat, which signing keys of a use this node has.
	Hold(use string, kids []string)
}

// The uses of keys.
const (
	keyUse    = "oidc"   // tokens
	AnchorUse = "anchor" // anchors and exports of the record
)

const (
	readKeysEvery = 250 * time.Millisecond // how late a change of the change log is taken over
	planKeysEvery = 2 * time.Second
)

// Keyring holds the signing keys of one use in memory, ready to sign, and the key set that apps read. It
// follows the store while Follow runs: what it holds is one immutable snapshot, so nobody waits to sign.
type Keyring struct {
	Store Keys
	Nodes Nodes
	Tx    directory.Tx
	Audit audit.Recorder
	Now   func() time.Time
	Log   *slog.Logger
	// Use is what the keys sign, "" is tokens; Algs are the algorithms, nil is those that an app may ask for.
	Use      string
	Algs     []string
	Schedule KeySchedule
	// Open makes a key ready to sign. nil parses PKCS #8; whoever keeps keys in a key management service
	// or a hardware module stores a reference as Private and returns what signs there.
	Open func(Key) (crypto.Signer, error)
	// Make makes a key of an algorithm: what is stored as Private. nil generates PKCS #8.
	Make func(alg string) ([]byte, error)

	offset atomic.Int64 // the database's clock less ours, nanoseconds
	set    atomic.Pointer[keySet]
	mu     sync.Mutex // one step at a time; never held to sign
}

// keySet is what a keyring holds at one time. It is never changed.
type keySet struct {
	list    []Key
	opened  map[string]signer          // by key id
	signers map[string][]signer        // by algorithm, the latest to begin first
	public  map[string]jose.JSONWebKey // by key id: what is believed
	jwks    []byte
	etag    string
}

// signer signs with one key.
type signer struct {
	key        Key
	private    crypto.Signer
	kid        string
	id, access *scribe
	logout     *scribe
}

func (k *Keyring) use() string {
	if k.Use == "" {
		return keyUse
	}
	return k.Use
}

func (k *Keyring) algs() []string {
	if k.Algs == nil {
		return signingAlgs
	}
	return k.Algs
}

// time is the database's: nodes whose clocks differ change keys at the same moment.
func (k *Keyring) time() time.Time { return k.Now().Add(time.Duration(k.offset.Load())) }

// Load reads the keys and makes those that are missing: one for each algorithm.
func (k *Keyring) Load(ctx context.Context) error {
	for range 4 { // read, make, read, ready
		done, err := k.step(ctx)
		if err != nil || done {
			return err
		}
	}
	return nil
}

// Follow keeps the keyring as the store has it, and does what is due: makes, publishes and changes keys,
// until ctx ends.
func (k *Keyring) Follow(ctx context.Context) {
	read, plan := time.NewTicker(readKeysEvery), time.NewTicker(planKeysEvery)
	defer read.Stop()
	defer plan.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-read.C:
			err = k.read(ctx)
		case <-plan.C:
			_, err = k.step(ctx)
		}
		if err != nil && ctx.Err() == nil {
			k.Log.Error("broker: signing keys cannot be followed", "use", k.use(), "error", err)
		}
	}
}

// read takes over what the store has.
func (k *Keyring) read(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	list, err := k.Store.Keys(ctx, k.use())
	if err != nil {
		return err
	}
	return k.take(list)
}

// step reads the keys and does what is due. It reports whether nothing was.
func (k *Keyring) step(ctx context.Context) (done bool, err error) {
	now, err := k.Nodes.Clock(ctx)
	if err != nil {
		return false, err
	}
	k.offset.Store(int64(now.Sub(k.Now())))
	if err := k.read(ctx); err != nil {
		return false, err
	}
	others, err := k.Nodes.Others(ctx)
	if err != nil {
		return false, err
	}
	p := planKeys(k.set.Load().list, k.algs(), k.Schedule, now, k.everywhere(others))
	if !p.changed && len(p.make) == 0 {
		return true, nil
	}
	if err := k.apply(ctx, p, others, now); err != nil {
		return false, err
	}
	return false, k.read(ctx)
}

// everywhere says whether this node and all others have a key.
func (k *Keyring) everywhere(others []Node) func(kid string) bool {
	set := k.set.Load()
	return func(kid string) bool {
		if _, mine := set.public[kid]; !mine {
			return false
		}
		return !slices.ContainsFunc(others, func(n Node) bool { return !slices.Contains(n.Keys, kid) })
	}
}

// apply makes what a plan orders and stores it. The plan is made again inside the transaction, so that of
// many nodes one does each thing.
func (k *Keyring) apply(ctx context.Context, p keyPlan, others []Node, now time.Time) error {
	made := map[string]Key{}
	for _, order := range p.make {
		key, err := k.newKey(order.alg, now, order.active)
		if err != nil {
			return err
		}
		made[order.alg] = key
	}
	return k.change(ctx, directory.Actor{Kind: directory.Engine}, now, func(list []Key) ([]Key, error) {
		p := planKeys(list, k.algs(), k.Schedule, now, k.everywhere(others))
		for _, order := range p.make {
			if key, ok := made[order.alg]; ok {
				p.list = addKey(p.list, key, now)
			}
		}
		return p.list, nil
	})
}

// change stores what fn makes of the keys, and records those that are new or revoked.
func (k *Keyring) change(ctx context.Context, a directory.Actor, now time.Time, fn func([]Key) ([]Key, error)) error {
	return k.Tx.InTx(ctx, func(ctx context.Context) error {
		var before, after []Key
		if err := k.Store.UpdateKeys(ctx, k.use(), func(list []Key) (out []Key, err error) {
			before = list
			after, err = fn(list)
			return after, err
		}); err != nil {
			return err
		}
		for _, key := range after {
			at := slices.IndexFunc(before, func(b Key) bool { return b.KID == key.KID })
			var act audit.Action
			switch {
			case at < 0:
				act = audit.KeyCreated
			case before[at].RevokedAt.IsZero() && !key.RevokedAt.IsZero():
				act = audit.KeyRevoked
			default:
				continue
			}
			if err := k.Audit.Record(ctx, audit.Entry{
				ID: string(directory.NewEntryID(now)), At: now, Actor: a.Ref(), Action: act, Target: audit.Ref{Kind: "key", ID: key.KID},
				Detail: map[string]string{"use": key.Use, "alg": key.Alg},
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// newKey makes a key that is published from now.
func (k *Keyring) newKey(alg string, now, active time.Time) (Key, error) {
	make := k.Make
	if make == nil {
		make = GenerateKey
	}
	private, err := make(alg)
	return Key{KID: directory.NewSecret()[:16], Use: k.use(), Alg: alg, Private: private, CreatedAt: now, ActiveAt: active}, err
}

// GenerateKey makes a key of an algorithm that signing keys may have, as PKCS #8.
func GenerateKey(alg string) ([]byte, error) {
	var private any
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, ErrKeyAlg.Because(alg)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

func parsePKCS8(key Key) (crypto.Signer, error) {
	private, err := x509.ParsePKCS8PrivateKey(key.Private)
	if err != nil {
		return nil, err
	}
	s, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T does not sign", private)
	}
	return s, nil
}

// take makes keys ready and puts them in place of those that were, when they are others.
func (k *Keyring) take(list []Key) error {
	now, old := k.time(), k.set.Load()
	var published []Key
	for _, key := range list {
		if key.published(now) {
			published = append(published, key)
		}
	}
	if old != nil && reflect.DeepEqual(old.list, list) && len(old.public) == len(published) {
		return nil
	}
	set, err := k.ready(list, published, old)
	if err != nil {
		return err
	}
	k.set.Store(set)
	kids := make([]string, 0, len(published))
	for _, key := range published {
		kids = append(kids, key.KID)
	}
	k.Nodes.Hold(k.use(), kids)
	return nil
}

func (k *Keyring) ready(list, published []Key, old *keySet) (*keySet, error) {
	set := &keySet{list: list, opened: map[string]signer{}, signers: map[string][]signer{}, public: map[string]jose.JSONWebKey{}}
	var doc jose.JSONWebKeySet
	for _, key := range published {
		s, err := k.open(key, old)
		if err != nil {
			return nil, err
		}
		jwk := jose.JSONWebKey{Key: s.private.Public(), KeyID: key.KID, Algorithm: key.Alg, Use: "sig"}
		doc.Keys = append(doc.Keys, jwk)
		set.opened[key.KID], set.public[key.KID] = s, jwk
	}
	// Revoked and expired keys stand in the order too: what began before one of them signs no more.
	for _, key := range list {
		s := set.opened[key.KID]
		s.key = key
		set.signers[key.Alg] = append(set.signers[key.Alg], s)
	}
	for _, of := range set.signers {
		slices.SortFunc(of, func(a, b signer) int {
			if a.key.newer(b.key) {
				return -1
			}
			return 1
		})
	}
	var err error
	if set.jwks, err = json.Marshal(doc); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(set.jwks)
	set.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	return set, nil
}

// open makes a key ready to sign, unless it is already: parsing an RSA key takes a millisecond.
func (k *Keyring) open(key Key, old *keySet) (signer, error) {
	if old != nil {
		if s, ok := old.opened[key.KID]; ok {
			s.key = key
			return s, nil
		}
	}
	open := k.Open
	if open == nil {
		open = parsePKCS8
	}
	private, err := open(key)
	if err != nil {
		return signer{}, err
	}
	return newSigner(key, private)
}

func newSigner(key Key, private crypto.Signer) (signer, error) {
	var with any = private
	switch private.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
	default: // it signs elsewhere
		with = cryptosigner.Opaque(private)
	}
	of := func(typ jose.ContentType) (*scribe, error) {
		options := (&jose.SignerOptions{}).WithType(typ)
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Alg), Key: jose.JSONWebKey{Key: with, KeyID: key.KID}}, options)
		if err != nil {
			return nil, err
		}
		return newScribe(s, private)
	}
	id, err := of("JWT")
	if err != nil {
		return signer{}, err
	}
	access, err := of("at+jwt")
	if err != nil {
		return signer{}, err
	}
	logout, err := of("logout+jwt") // OpenID Connect Back-Channel Logout section 2.4
	return signer{key: key, private: private, kid: key.KID, id: id, access: access, logout: logout}, err
}

// signer gives what signs with alg now. It takes no lock.
func (k *Keyring) signer(alg string) (signer, bool) {
	set := k.set.Load()
	if set == nil {
		return signer{}, false
	}
	now := k.time()
	for _, s := range set.signers[alg] {
		if s.key.began(now) {
			return s, s.id != nil && s.key.published(now)
		}
	}
	return signer{}, false
}

// verify checks a token of ours: signed by a key that is published, with that typ. expired tokens are
// the caller's to judge.
func (k *Keyring) verify(token, typ string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		return nil, err
	}
	head := jws.Signatures[0].Header
	var key jose.JSONWebKey
	ok := false
	if set := k.set.Load(); set != nil {
		key, ok = set.public[head.KeyID]
	}
	if !ok || head.Algorithm != key.Algorithm || !strings.EqualFold(fmt.Sprint(head.ExtraHeaders[jose.HeaderType]), typ) {
		return nil, errors.New("not signed by a key of ours for this use")
	}
	return jws.Verify(key)
}

// published is the key set and its ETag.
func (k *Keyring) published() ([]byte, string) {
	set := k.set.Load()
	if set == nil {
		return []byte(`{"keys":[]}`), `"none"`
	}
	return set.jwks, set.etag
}

// Ready is ErrNoKey when there is no key of some algorithm: none that signs, and none on its way.
func (k *Keyring) Ready() error {
	set := k.set.Load()
	for _, alg := range k.algs() {
		if set == nil || !slices.ContainsFunc(set.signers[alg], func(s signer) bool { return s.id != nil }) {
			return ErrNoKey.Because(alg)
		}
	}
	return nil
}

// Signs says which key signs with an algorithm now, if one does.
func (k *Keyring) Signs(alg string) (kid string, ok bool) {
	s, ok := k.signer(alg)
	return s.kid, ok
}

// SignText signs a text for the record, under the keyring's Ed25519 key.
func (k *Keyring) SignText(text []byte) (kid string, signature []byte, err error) {
	s, ok := k.signer("EdDSA")
	if !ok {
		return "", nil, ErrNoKey.Because(k.use())
	}
	signature, err = s.private.Sign(rand.Reader, text, crypto.Hash(0))
	return s.kid, signature, err
}

// Ever is the key set of all keys that there ever were, which anchors of the record are checked with, and
// the ids of those that were revoked. It reads the store, not what is in memory.
func (k *Keyring) Ever(ctx context.Context) (set jose.JSONWebKeySet, revoked []string, err error) {
	list, err := k.Store.Keys(ctx, k.use())
	if err != nil {
		return set, nil, err
	}
	for _, key := range list {
		s, err := k.open(key, nil)
		if err != nil {
			return set, nil, err
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.private.Public(), KeyID: key.KID, Algorithm: key.Alg, Use: "sig"})
		if !key.RevokedAt.IsZero() {
			revoked = append(revoked, key.KID)
		}
	}
	return set, revoked, nil
}

// Read takes over what the store has, once: for a command that signs.
func (k *Keyring) Read(ctx context.Context) error { return k.read(ctx) }

// TextSignedBy says whether a key's SignText made a signature.
func TextSignedBy(key jose.JSONWebKey, text, signature []byte) bool {
	public, ok := key.Key.(ed25519.PublicKey)
	return ok && ed25519.Verify(public, text, signature)
}
