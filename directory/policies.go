package directory

import (
	"context"
	"encoding/json"
)

// PolicyLevel names one level that policy folds over. Exactly the fields of its kind are set; the zero
// value is the platform.
type PolicyLevel struct {
	Realm RealmID
	Org   OrgID
	App   AppID
}

// PolicyDoc is what one level set: values by setting key, as policy.Rule reads them. Platform documents
// hold defaults and limits beside them.
type PolicyDoc struct {
	Values   map[string]json.RawMessage `json:"values,omitempty"`
	Defaults map[string]json.RawMessage `json:"defaults,omitempty"`
	Limits   map[string]json.RawMessage `json:"limits,omitempty"`
	Version  int64                      `json:"-"` // 0: nothing was ever set at this level
}

// Policies keeps the document of each level. Reading a level without one gives the zero PolicyDoc.
type Policies interface {
	PolicyDoc(ctx context.Context, at PolicyLevel) (PolicyDoc, error)
	// PutPolicyDoc is compare-and-swap on Version: ErrMoved.
	PutPolicyDoc(ctx context.Context, at PolicyLevel, d PolicyDoc) error
}
