package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	driver "github.com/redis/go-redis/v9"

	"github.com/vestibule-id/vestibule/internal/brief"
)

var (
	_ brief.Store   = Notes{}
	_ brief.Counter = (*Client)(nil)
)

// Notes are the values of one epoch. Those of another are not there.
//
// A value is stored behind its end by the clock of the node that wrote it, so that a note is over when
// our clocks say so; the server's own expiry, by its own clock, keeps house and is what PutNew goes by.
type Notes struct {
	c     *Client
	space string
}

// Notes gives the values of an epoch.
func (c *Client) Notes(epoch string) Notes { return Notes{c, c.prefix + epoch + "/"} }

// headLen is the length of a value's end: microseconds, in decimal digits.
const headLen = 16

func (n Notes) pack(value []byte, ttl time.Duration) []byte {
	b := make([]byte, 0, headLen+len(value))
	return append(append(b, micros(n.c.now().Add(ttl))...), value...)
}

func micros(t time.Time) string {
	s := strconv.FormatInt(t.UnixMicro(), 10)
	for len(s) < headLen {
		s = "0" + s
	}
	return s
}

// unpack gives the value, if it is not over.
func (n Notes) unpack(b []byte) ([]byte, error) {
	if len(b) < headLen {
		return nil, brief.ErrGone.Because("not a note")
	}
	until, err := strconv.ParseInt(string(b[:headLen]), 10, 64)
	if err != nil || until <= n.c.now().UnixMicro() {
		return nil, brief.ErrGone
	}
	return b[headLen:], nil
}

// Put writes value under key, whatever was there.
func (n Notes) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := brief.Fits(key, value, ttl); err != nil {
		return err
	}
	values, call, cancel, err := n.c.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := values.Set(call, n.space+key, n.pack(value, ttl), ttl).Err(); err != nil {
		return n.c.failed(ctx, err)
	}
	return nil
}

// PutNew writes value only when nothing is under key.
func (n Notes) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := brief.Fits(key, value, ttl); err != nil {
		return err
	}
	values, call, cancel, err := n.c.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	p := values.Pipeline()
	set := p.SetArgs(call, n.space+key, n.pack(value, ttl), driver.SetArgs{Mode: "NX", TTL: ttl})
	if err := n.c.mark(call, p); err != nil && !errors.Is(err, driver.Nil) {
		return n.c.failed(ctx, err)
	}
	if errors.Is(set.Err(), driver.Nil) {
		return brief.ErrTaken
	}
	return nil
}

// mark sends what must not be lost by a failover, and waits until one replica has it, where there are
// any (S16).
func (c *Client) mark(call context.Context, p driver.Pipeliner) error {
	if !c.replicas.Load() {
		_, err := p.Exec(call)
		return err
	}
	followed := p.Do(call, "wait", 1, (c.timeout * 2 / 3).Milliseconds())
	if _, err := p.Exec(call); err != nil {
		return err
	}
	if n, err := followed.Int(); err != nil || n < 1 {
		return errors.Join(errUnfollowed, err)
	}
	return nil
}

// Get reads.
func (n Notes) Get(ctx context.Context, key string) ([]byte, error) {
	values, call, cancel, err := n.c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return n.read(ctx, values.Get(call, n.space+key))
}

// Take reads and deletes in one step.
func (n Notes) Take(ctx context.Context, key string) ([]byte, error) {
	values, call, cancel, err := n.c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	p := values.Pipeline()
	got := p.GetDel(call, n.space+key)
	if err := n.c.mark(call, p); err != nil && !errors.Is(err, driver.Nil) {
		return nil, n.c.failed(ctx, err)
	}
	return n.read(ctx, got)
}

func (n Notes) read(ctx context.Context, cmd *driver.StringCmd) ([]byte, error) {
	b, err := cmd.Bytes()
	if errors.Is(err, driver.Nil) {
		return nil, brief.ErrGone
	}
	if err != nil {
		return nil, n.c.failed(ctx, err)
	}
	return n.unpack(b)
}

const (
	swapGone  = 0
	swapTaken = 1
)

var swapScript = driver.NewScript(`
local v = redis.call('GET', KEYS[1])
if not v or tonumber(string.sub(v, 1, 16)) <= tonumber(ARGV[1]) then return 0 end
if string.sub(v, 17) ~= ARGV[2] then return 1 end
redis.call('SET', KEYS[1], string.sub(v, 1, 16) .. ARGV[3], 'KEEPTTL')
return 2`)

// Swap replaces old by next and keeps the time that was left.
func (n Notes) Swap(ctx context.Context, key string, old, next []byte) error {
	if err := brief.Fits(key, next, time.Hour); err != nil {
		return err
	}
	values, call, cancel, err := n.c.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	answer, err := swapScript.Run(call, values, []string{n.space + key}, n.c.now().UnixMicro(), old, next).Int()
	switch {
	case err != nil:
		return n.c.failed(ctx, err)
	case answer == swapGone:
		return brief.ErrGone
	case answer == swapTaken:
		return brief.ErrTaken
	}
	return nil
}

// Delete removes.
func (n Notes) Delete(ctx context.Context, key string) error {
	values, call, cancel, err := n.c.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := values.Del(call, n.space+key).Err(); err != nil {
		return n.c.failed(ctx, err)
	}
	return nil
}

// A count is stored as its window's end and how many there were: "1767225600000000 3".
var countScript = driver.NewScript(`
local v = redis.call('GET', KEYS[1])
if v then
  local ends, n = string.match(v, '^(%d+) (%d+)$')
  if ends and tonumber(ends) > tonumber(ARGV[1]) then
    n = string.format('%d', tonumber(n) + 1)
    redis.call('SET', KEYS[1], ends .. ' ' .. n, 'KEEPTTL')
    return tonumber(n)
  end
end
redis.call('SET', KEYS[1], ARGV[2] .. ' 1', 'PX', ARGV[3])
return 1`)

// Incr adds one to key and returns the count in its window, which starts at the first Incr. Counts
// outlive epochs: an epoch ends what was issued, not what was tried.
func (c *Client) Incr(ctx context.Context, key string, window time.Duration) (int64, error) {
	values, call, cancel, err := c.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	now := c.now()
	n, err := countScript.Run(call, values, []string{c.prefix + "count/" + key}, now.UnixMicro(), micros(now.Add(window)), max(window.Milliseconds(), 1)).Int64()
	if err != nil {
		return 0, c.failed(ctx, err)
	}
	return n, nil
}
