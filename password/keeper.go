package password

import "context"

// Keeper makes and checks hashes in its pool. It keeps nothing itself.
type Keeper struct {
	Cost Cost // the zero Cost is UsualCost
	Pool *Pool
}

func (k *Keeper) cost() Cost {
	if k.Cost == (Cost{}) {
		return UsualCost
	}
	return k.Cost
}

// Make hashes a new password. The string carries everything that checking it needs.
func (k *Keeper) Make(ctx context.Context, turn Turn, p Prepared) (string, error) {
	var hash string
	err := k.Pool.Do(ctx, turn, func() { hash = k.cost().encode(p) })
	return hash, err
}

// Checked is what a check found out.
type Checked struct {
	Right bool
	// Renewed is the right password's hash as it is made today, where the stored one is of another system
	// or of a lower cost; "" where it may stay.
	Renewed string
}

// Check says whether typed is the password of a stored hash. Nobody's hash is "": it is never right, and
// takes what checking one of ours takes, through the same pool (S31). What is no password at all, or a hash
// that cannot be read, takes as much and is not right either; the latter's error is for the log.
func (k *Keeper) Check(ctx context.Context, turn Turn, hash, typed string) (Checked, error) {
	p, unusable := Prepare(typed)
	s, unreadable := parse(hash)
	var out Checked
	err := k.Pool.Do(ctx, turn, func() {
		if hash == "" || unusable != nil || unreadable != nil {
			k.cost().idle(p)
			return
		}
		out.Right = s.check(string(p)) || s.raw && string(p) != typed && s.check(typed)
		if out.Right && !k.cost().current(hash) {
			out.Renewed = k.cost().encode(p)
		}
	})
	if err == nil && hash != "" {
		err = unreadable
	}
	return out, err
}

// Used says whether a password is that of one of some hashes: the current one and earlier ones. Each is a
// turn of its own in the pool.
func (k *Keeper) Used(ctx context.Context, turn Turn, hashes []string, p Prepared) (bool, error) {
	for _, hash := range hashes {
		s, err := parse(hash)
		if err != nil {
			continue // nothing that anybody can type again
		}
		var used bool
		if err := k.Pool.Do(ctx, turn, func() { used = s.check(string(p)) }); err != nil || used {
			return used, err
		}
	}
	return false, nil
}
