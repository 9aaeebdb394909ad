package directory

import (
	"context"
	"reflect"
	"strings"

	"github.com/vestibule-id/vestibule/audit"
)

// CompleteProfile keeps what a person at home in home told of themselves inside a login: names, locale,
// profile. It adds; what is known already, and what finds and proves them, stays as it is. change may run
// twice.
func (s *Service) CompleteProfile(ctx context.Context, a Actor, home OrgID, id PersonID, change func(*Person) error) error {
	if err := Allow(a, home, JoinByLogin); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		var fields []string
		err := s.UpdatePerson(ctx, home, id, func(p *Person) error {
			if p.Home != home {
				return ErrPersonNotFound // what is known of guests is their home's to keep
			}
			before, after := *p, *p
			if err := change(&after); err != nil {
				return err
			}
			fill(&p.Name, after.Name)
			fill(&p.Given, after.Given)
			fill(&p.Family, after.Family)
			fill(&p.Locale, after.Locale)
			fill(&p.Profile.MiddleName, after.Profile.MiddleName)
			fill(&p.Profile.Nickname, after.Profile.Nickname)
			fill(&p.Profile.PreferredUsername, after.Profile.PreferredUsername)
			fill(&p.Profile.Birthdate, after.Profile.Birthdate)
			fill(&p.Profile.Zoneinfo, after.Profile.Zoneinfo)
			fill(&p.Profile.Phone, after.Profile.Phone)
			fields = differing(map[string]bool{"name": before.Name == p.Name, "given_name": before.Given == p.Given, "family_name": before.Family == p.Family,
				"locale": before.Locale == p.Locale, "profile": reflect.DeepEqual(before.Profile, p.Profile)})
			return nil
		})
		if err != nil || len(fields) == 0 {
			return err
		}
		return s.record(ctx, a, home, audit.ProfileCompleted, personRef(id), map[string]string{"fields": strings.Join(fields, ", ")})
	})
}

// fill writes where nothing is.
func fill(to *string, v string) {
	if *to == "" {
		*to = v
	}
}
