package password

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cheap costs next to nothing: most tests are of something else.
var cheap = Cost{Memory: 64, Passes: 1, Lanes: 1}

func keeper() *Keeper { return &Keeper{Cost: cheap, Pool: &Pool{Workers: 2, Waiting: 10}} }

func TestAPasswordIsWhatItsOwnerTyped(t *testing.T) {
	long := strings.Repeat("Gödel, Escher, Bach ", 12)
	for typed, want := range map[string]string{
		"Ünïcode":                "Ünïcode", // composed, whatever the keyboard sent
		"ideographic　space":      "ideographic space",
		" leading and trailing ": " leading and trailing ", // nothing is trimmed
		"CaSe":                   "CaSe",
		"🦉🦉🦉":                    "🦉🦉🦉",
		long:                     long, // 240 characters
	} {
		if got, err := Prepare(typed); err != nil || string(got) != want {
			t.Errorf("%q is prepared as %q, %v; want %q", typed, got, err, want)
		}
	}
	for _, typed := range []string{"", "nul\x00", "tab\t", "\xff\xfe", strings.Repeat("x", Longest+1), strings.Repeat("🦉", Longest+1)} {
		if _, err := Prepare(typed); !errors.Is(err, ErrUnusable) {
			t.Errorf("%.20q is taken: %v", typed, err)
		}
	}
}

func TestNothingOfAPasswordIsCut(t *testing.T) {
	ctx, k := t.Context(), keeper()
	long := strings.Repeat("a", 100)
	p, _ := Prepare(long)
	hash, err := k.Make(ctx, Turn{}, p)
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]bool{long: true, long[:72]: false, long[:99]: false, long + "a": false} {
		if got, err := k.Check(ctx, Turn{}, hash, typed); err != nil || got.Right != want || got.Renewed != "" {
			t.Errorf("%d characters: %+v, %v", len(typed), got, err)
		}
	}
}

// The hashes were made by the systems they are named after, or are vectors of their specifications.
var foreign = []struct{ system, hash, typed string }{
	{"argon2id, reference implementation", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	{"argon2i, reference implementation", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", "password"},
	{"bcrypt, OpenBSD", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"Django pbkdf2_sha256", "pbkdf2_sha256$1000$saltsaltsaltsalt$8Fiyy9V747LB3N4eQfr3eXhd4LrXW6v7zeV0sjKEGhQ=", "gardening Owls 7"},
	{"Django pbkdf2_sha1", "pbkdf2_sha1$1000$saltsaltsaltsalt$mpOwvmjXVnyCqtLGYdwdP3RvpGk=", "gardening Owls 7"},
	{"Django bcrypt_sha256", "bcrypt_sha256$$2b$04$BCNXhrGKNQyxbRayIUhSL.UMhc0Hv5V9a32Wa/Ed/K8EpeBPLoIxu", "gardening Owls 7"},
	{"Django bcrypt", "bcrypt$$2b$04$P1mws6JEn8mxg8fxAFqGr.2d36t4PDUx7F4JuK0GznuJGdUUxiwzq", "gardening Owls 7"},
	{"Django scrypt", "scrypt$1024$saltsaltsaltsalt$8$5$CcZ4wuP49TxD+x8Bw+u8EC2OjRbjZ0+spdPHDWmTOkxT/VKgc0+D8/YWj5zFij+VsL5PsiGpOEw7mkD/QWntUw==", "gardening Owls 7"},
	{"Django argon2", "argon2$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$Ghj0NFpvH/2FBPaYHmkB+4r5rZFo8RZG4QhOIYR2PoY", "gardening Owls 7"},
	{"passlib pbkdf2_sha1", "$pbkdf2$1000$e8/ZO6dUSomRUmqtVYpR6g$CdV63Q4CTStrXwPs4C9m9hv/ltE", "gardening Owls 7"},
	{"passlib pbkdf2_sha256", "$pbkdf2-sha256$1000$LOW8l/IegzBmzLk35lzrvQ$L0ycR.HxCiSHdhRX9cud6L2o1k6g6.hRZ7bHUF3dNxI", "gardening Owls 7"},
	{"passlib pbkdf2_sha512", "$pbkdf2-sha512$1000$AYCwdk4p5VwLYQyh9B4D4A$Plt4JonvrvX86THv5PiY6AV.ubbWZLsXX/mXO3LF/vVh2IPIbSdZ8iQyO/dDnnUG99US4IM.RAeTAHFQXWoCDA", "gardening Owls 7"},
	{"passlib scrypt", "$scrypt$ln=10,r=8,p=1$jdE6h3CutZbSGoMQghACIA$5gyEd2+uPnc/48Rmz7uj6q5ZgdTKsMqv0AT9ZkVk0CQ", "gardening Owls 7"},
	{"passlib argon2id", "$argon2id$v=19$m=64,t=1,p=4$8d7b2zuHUAqhFGLsfc957w$iyijh/de6Gcc0bWiP1IjYqRvTjrdW0GwJdCc9kekiNk", "gardening Owls 7"},
	{"passlib bcrypt of 80 characters", "$2b$04$3HhUGbyomlLjPfp1n0nkrujg7xFcXJRJd0gjJ0WQanmuX6fs4eSRS", "01234567890123456789012345678901234567890123456789012345678901234567890123456789"},
	{"ASP.NET Core Identity 3", "AQAAAAEAAAPoAAAAELjwxIOls7jAukOTFWOUyh2gKWWFmOlLntxsVyDW1LjoXNEQ8v7ijG659R+g776VTg==", "gardening Owls 7"},
	{"ASP.NET Core Identity 3, SHA-512", "AQAAAAIAAAPoAAAAELjwxIOls7jAukOTFWOUyh0b8e96S/VUZ40aIP0fVLs40ZrE3Y3IFueuzAKXcteKQQ==", "gardening Owls 7"},
	{"ASP.NET Identity 2", "ALjwxIOls7jAukOTFWOUyh3nWLTGTql3tAWCmBiH4j0bx1oyJ4Cxylmk9+FD2ooQvw==", "gardening Owls 7"},
	{"PHC pbkdf2", "$pbkdf2-sha256$i=1000,l=32$uPDEg6WzuMC6Q5MVY5TKHQ$oCllhZjpS57cbFcg1tS46FzREPL+4oxuufUfoO++lU4", "gardening Owls 7"},
	{"Django, typed in another normalization", "pbkdf2_sha256$1000$saltsaltsaltsalt$jDgL56PMY7RZ9t95h6LkLdZmvTwtnElWRrmXr5WZ+rs=", "e\u0301clair au chocolat"},
	{"bcrypt 2y", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", "\xa3"},
}

func TestHashesOfOtherSystemsAreUnderstoodAndRenewed(t *testing.T) {
	ctx, k := t.Context(), keeper()
	for _, f := range foreign {
		if _, err := Readable(f.hash); err != nil {
			t.Errorf("%s: %v", f.system, err)
			continue
		}
		got, err := k.Check(ctx, Turn{}, f.hash, f.typed)
		if f.typed == "\xa3" { // no text: it was a password once, and is none here
			if got.Right {
				t.Errorf("%s: bytes that are no text were taken", f.system)
			}
			continue
		}
		if err != nil || !got.Right || !strings.HasPrefix(got.Renewed, cheap.prefix()) {
			t.Errorf("%s: %+v, %v", f.system, got, err)
			continue
		}
		again, err := k.Check(ctx, Turn{}, got.Renewed, f.typed)
		if err != nil || !again.Right || again.Renewed != "" {
			t.Errorf("%s, renewed: %+v, %v", f.system, again, err)
		}
		for _, wrong := range []string{"x" + f.typed, "another", f.hash, ""} {
			if got, err := k.Check(ctx, Turn{}, f.hash, wrong); err != nil || got.Right || got.Renewed != "" {
				t.Errorf("%s takes %q: %+v, %v", f.system, wrong, got, err)
			}
		}
	}
}

func TestAForeignHashCannotTakeMemoryOrTime(t *testing.T) {
	key := strings.Repeat("A", 43)
	for name, hash := range map[string]string{
		"argon2 memory":      "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$" + key,
		"argon2 passes":      "$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHQ$" + key,
		"argon2 product":     "$argon2id$v=19$m=131072,t=32,p=1$c29tZXNhbHQ$" + key,
		"argon2 lanes":       "$argon2id$v=19$m=65536,t=1,p=255$c29tZXNhbHQ$" + key,
		"argon2 no lane":     "$argon2id$v=19$m=65536,t=1,p=0$c29tZXNhbHQ$" + key,
		"argon2 no pass":     "$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$" + key,
		"argon2d":            "$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$" + key,
		"argon2 old":         "$argon2i$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$" + key,
		"argon2 negative":    "$argon2id$v=19$m=-1,t=2,p=1$c29tZXNhbHQ$" + key,
		"empty key":          "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$",
		"short key":          "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$AAAA",
		"huge key":           "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 900),
		"bcrypt cost":        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"bcrypt 2x":          "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"bcrypt cut off":     "$2b$05$CCCCCCCCCCCCCCCCCCCCC.",
		"pbkdf2 iterations":  "$pbkdf2-sha256$2000000000$c29tZXNhbHQ$" + key,
		"pbkdf2 none":        "$pbkdf2-sha256$0$c29tZXNhbHQ$" + key,
		"pbkdf2 digest":      "$pbkdf2-md5$1000$c29tZXNhbHQ$" + key,
		"pbkdf2 empty":       "pbkdf2_sha256$1000$salt$",
		"scrypt memory":      "$scrypt$ln=22,r=8,p=1$c29tZXNhbHQ$" + key,
		"scrypt shift":       "$scrypt$ln=64,r=8,p=1$c29tZXNhbHQ$" + key,
		"scrypt lanes":       "$scrypt$ln=16,r=8,p=1000$c29tZXNhbHQ$" + key,
		"scrypt no power":    "scrypt$salt$1000$8$1$" + key + "=",
		"asp.net iterations": "AQAAAAL/////AAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
		"asp.net salt":       "AQAAAAIAACcQ/////wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
		"empty":              "",
		"plain":              "hunter2",
		"md5":                "$1$abc$0123456789",
		"endless":            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 5000),
	} {
		if got, err := Readable(hash); !errors.Is(err, ErrHash) {
			t.Errorf("%s is taken as %q: %v", name, got, err)
		}
	}
}

func TestS31NobodysPasswordCostsWhatSomebodysDoes(t *testing.T) {
	k := &Keeper{Pool: &Pool{}}
	p, _ := Prepare("correct horse battery staple")
	hash, err := k.Make(t.Context(), Turn{}, p)
	if err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string][2]string{
		"somebody": {hash, "wrong password"}, "nobody": {"", "wrong password"}, "no password at all": {hash, "\x00"},
		"an unreadable hash": {"$x", "wrong password"}, "too long": {hash, strings.Repeat("x", 5000)},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if got, _ := k.Check(t.Context(), Turn{}, ask[0], ask[1]); got.Right {
			t.Errorf("%s: a wrong password is right", name)
		}
		runtime.ReadMemStats(&after)
		// The work is the memory that argon2 fills, five times over.
		if kib := (after.TotalAlloc - before.TotalAlloc) / 1024; kib < 7*1024 || kib > 8*1024 {
			t.Errorf("%s: %d KiB were worked through", name, kib)
		}
	}
}

func TestCosts(t *testing.T) {
	for s, good := range map[string]bool{
		"m=7168,t=5,p=1": true, "m=19456,t=2,p=1": true, "m=47104,t=1,p=1": true, "m=65536,t=4,p=2": true, "m=19456,t=1,p=1": false, "m=1024,t=16,p=1": false,
		"m=999999,t=2,p=1": false, "m=19456,t=2,p=0": false, "m=19456,t=99,p=1": false, "": false, "m=19456,t=2,p=1,x": false, " m=19456,t=2,p=1": false,
	} {
		if c, err := ParseCost(s); (err == nil) != good || good && c.String() != s {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	}
	ctx := t.Context()
	p, _ := Prepare("a password that stays")
	old, _ := keeper().Make(ctx, Turn{}, p)
	dearer := &Keeper{Cost: Cost{Memory: 128, Passes: 1, Lanes: 1}, Pool: &Pool{}}
	if got, err := dearer.Check(ctx, Turn{}, old, string(p)); err != nil || !got.Right || !strings.HasPrefix(got.Renewed, "$argon2id$v=19$m=128,") {
		t.Errorf("a hash of a lower cost is not renewed: %+v, %v", got, err)
	}
	if got, _ := dearer.Check(ctx, Turn{}, old, "another"); got.Renewed != "" {
		t.Error("a wrong password is hashed")
	}
	if used, err := dearer.Used(ctx, Turn{}, []string{"$x", "", old}, p); err != nil || !used {
		t.Errorf("an earlier password is not recognized: %v", err)
	}
	if used, _ := dearer.Used(ctx, Turn{}, []string{old}, "another"); used {
		t.Error("another password is recognized")
	}
}

func TestTheListKnowsCommonPasswords(t *testing.T) {
	l := Common()
	for _, p := range []Prepared{"password", "Password", "PASSWORD", "123456", "qwertyuiop", "iloveyou", "trustno1"} {
		if has, err := l.Has(p); err != nil || !has {
			t.Errorf("%q is not in the list: %v", p, err)
		}
	}
	taken := 0
	for i := range 20000 {
		if has, err := l.Has(Prepared(fmt.Sprintf("no such password %d", i))); err != nil || has {
			taken++
		}
	}
	if taken > 10 {
		t.Errorf("%d of 20,000 others are taken for common ones", taken)
	}
}

func TestAnOperatorsOwnList(t *testing.T) {
	sum := sha1.Sum([]byte("Tr0ub4dour&3"))
	rare := sha1.Sum([]byte("rarely leaked"))
	m := ListMaker{Least: 5}
	in := fmt.Sprintf("HarborSupplies\r\n\n%s:17\n%s:2\n%s\n", strings.ToUpper(hex.EncodeToString(sum[:])), hex.EncodeToString(rare[:]), "deadbeef:x")
	if err := m.Read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	var b, again bytes.Buffer
	if err := errors.Join(m.Write(&b), m.Write(&again)); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Fatalf("%v, %d and %d bytes", err, b.Len(), again.Len())
	}
	l, err := OpenList(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[Prepared]bool{"harborsupplies": true, "HARBORSUPPLIES": true, "Tr0ub4dour&3": true, "tr0ub4dour&3": false, "rarely leaked": false, "deadbeef:x": true, "another": false} {
		if has, err := l.Has(p); err != nil || has != want {
			t.Errorf("%q: %v, %v", p, has, err)
		}
	}
	for name, broken := range map[string][]byte{"empty": nil, "cut off": b.Bytes()[:b.Len()-1], "longer": append(b.Bytes()[:b.Len():b.Len()], 0), "another file": []byte(strings.Repeat("x", 200))} {
		if _, err := OpenList(bytes.NewReader(broken), int64(len(broken))); !errors.Is(err, ErrList) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(ListMaker).Write(&b); err == nil {
		t.Error("a list of nothing is written")
	}
}

func TestRules(t *testing.T) {
	rules := Rules{MinLength: 12, MinStrength: 3, Classes: 3, BlockCommon: true}
	me := []string{"Carmen Delgado", "carmen.delgado@harbor.example", "Harbor Supplies"}
	for typed, want := range map[string][]Flaw{
		"gardening Owls 7 at night": nil,
		"Pass1":                     {Short, Familiar},
		"Password":                  {Short, Classes, Familiar},
		"carmen.delgado":            {Classes, Personal},
		"Carmen.Delgado1":           {Personal},
		"Delgado1993!":              {Weak},
		"Aa1Aa1Aa1Aa1":              {Weak},
		"ñandúñandú":                {Short, Classes, Weak},
		"πλατωνικός Έρως 9":         nil,
	} {
		p, err := Prepare(typed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := rules.Judge(p, me, Common()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", typed, got, err, want)
		}
	}
	if got, err := (Rules{}).Judge("password", me, Common()); err != nil || got != nil {
		t.Errorf("no rules refuse: %v, %v", got, err)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for age, old := range map[time.Duration]bool{0: false, time.Hour - 1: false, time.Hour: true} {
		if got := (Rules{MaxAge: time.Hour}).Old(now.Add(-age), now); got != old {
			t.Errorf("after %v: %v", age, got)
		}
	}
	if (Rules{}).Old(time.Time{}, now) {
		t.Error("a password grows old where no rule says so")
	}
}

func TestThePoolBoundsWhatRunsAndWaits(t *testing.T) {
	p := &Pool{Workers: 2, Waiting: 3}
	hold, running := make(chan bool), make(chan bool, 10)
	var wg sync.WaitGroup
	do := func(turn Turn, out *error) {
		wg.Go(func() { *out = p.Do(t.Context(), turn, func() { running <- true; <-hold }) })
	}
	errs := make([]error, 6)
	do(Turn{Org: "a"}, &errs[0])
	do(Turn{Org: "a"}, &errs[1])
	<-running
	<-running
	for i := 2; i < 5; i++ {
		do(Turn{Org: "a"}, &errs[i])
	}
	for wait := waiting(p); wait < 3; wait = waiting(p) {
		time.Sleep(time.Millisecond)
	}
	if err := p.Do(t.Context(), Turn{Org: "a"}, func() {}); !errors.Is(err, ErrBusy) {
		t.Errorf("one more than may wait: %v", err)
	}
	if len(running) > 0 {
		t.Error("more run than may")
	}
	// Somebody of another organization takes the place of the last of those who hold them all.
	do(Turn{Org: "b"}, &errs[5])
	for p.holds("b") == 0 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	wg.Wait()
	busy := 0
	for i, err := range errs {
		if errors.Is(err, ErrBusy) && i >= 2 && i < 5 {
			busy++
		} else if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if busy != 1 {
		t.Errorf("%d were sent away, want 1", busy)
	}
	if p.running != 0 || p.waiting != 0 || len(p.orgs.all) != 0 {
		t.Errorf("left behind: %+v", p)
	}
}

func (p *Pool) holds(org string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, _ := p.orgs.find(org)
	if l == nil {
		return 0
	}
	return l.waiting
}

func waiting(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

func TestS32WhoeverFloodsWaitsBehindThemselves(t *testing.T) {
	p := &Pool{Workers: 1, Waiting: 1000}
	hold, started := make(chan bool), make(chan bool)
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Do(t.Context(), Turn{}, func() { close(started); <-hold }) })
	<-started
	queue := func(org, network string) {
		before := waiting(p)
		wg.Go(func() {
			_ = p.Do(t.Context(), Turn{org, network}, func() { mu.Lock(); order = append(order, org+network); mu.Unlock() })
		})
		for waiting(p) == before {
			time.Sleep(50 * time.Microsecond)
		}
	}
	for range 40 {
		queue("victim", "flood")
	}
	queue("victim", "honest")
	queue("other", "honest")
	close(hold)
	wg.Wait()
	if at := slices.Index(order, "victimhonest"); at > 3 {
		t.Errorf("an honest address of the organization waits for %d", at)
	}
	if at := slices.Index(order, "otherhonest"); at > 3 {
		t.Errorf("another organization waits for %d", at)
	}
}

func TestWhoStopsWaitingTakesNobodysPlace(t *testing.T) {
	p := &Pool{Workers: 1, Waiting: 100}
	var wg sync.WaitGroup
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*50*time.Microsecond)
		wg.Go(func() {
			defer cancel()
			_ = p.Do(ctx, Turn{Org: fmt.Sprint(i % 5), Network: fmt.Sprint(i % 3)}, func() { time.Sleep(20 * time.Microsecond) })
		})
	}
	wg.Wait()
	if p.running != 0 || p.waiting != 0 || len(p.orgs.all) != 0 {
		t.Errorf("left behind: running %d, waiting %d, %d organizations", p.running, p.waiting, len(p.orgs.all))
	}
	done := false
	if err := p.Do(t.Context(), Turn{}, func() { done = true }); err != nil || !done {
		t.Errorf("the pool is stuck: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	k := &Keeper{Pool: &Pool{}}
	p, _ := Prepare("correct horse battery staple")
	hash, _ := k.Make(b.Context(), Turn{}, p)
	b.ReportAllocs()
	for b.Loop() {
		if got, err := k.Check(b.Context(), Turn{}, hash, string(p)); err != nil || !got.Right {
			b.Fatal(got, err)
		}
	}
}

func TestAPlaceRestsWhileOthersWait(t *testing.T) {
	rested := 0
	p := &Pool{Workers: 1, Waiting: 10, Rest: func(work func()) time.Duration { work(); rested++; return time.Millisecond }}
	hold, started := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Do(t.Context(), Turn{}, func() { close(started); <-hold }) })
	<-started
	for range 3 {
		wg.Go(func() {
			if err := p.Do(t.Context(), Turn{}, func() {}); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting(p) < 3 {
		time.Sleep(100 * time.Microsecond)
	}
	close(hold)
	wg.Wait()
	if rested != 4 || p.running != 0 || p.waiting != 0 {
		t.Errorf("%d rested, %d run, %d wait", rested, p.running, p.waiting)
	}
}
