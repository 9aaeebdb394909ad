package upstream

import "testing"

func TestACacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := Cache[int, string]{Max: 2}
	c.Put(1, "one")
	c.Put(2, "two")
	c.Get(1)
	c.Put(3, "three")
	if _, ok := c.Get(2); ok {
		t.Error("2 is still there")
	}
	for k, want := range map[int]string{1: "one", 3: "three"} {
		if got, ok := c.Get(k); !ok || got != want {
			t.Errorf("%d: %q", k, got)
		}
	}
	c.Put(3, "drei")
	if got := c.GetOr(3, func() string { t.Error("built what is there"); return "" }); got != "drei" {
		t.Errorf("got %q", got)
	}
	if got := c.GetOr(4, func() string { return "four" }); got != "four" || c.order.Len() != 2 || len(c.index) != 2 {
		t.Errorf("%q, %d, %d", got, c.order.Len(), len(c.index))
	}
}
