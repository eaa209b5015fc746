package provision

import (
	"context"
	"maps"
	"slices"

	"appliance/provision/certs"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// Status is what runs and what certificates there are.
type Status struct {
	Dir          string         `json:"dir"`
	ChatURL      string         `json:"chat_url"`
	ServerName   string         `json:"server_name"`
	Services     []plan.Service `json:"services"`
	Certificates []certs.Status `json:"certificates"`
}

// StatusOf looks at an installation without judging it.
func StatusOf(ctx context.Context, s *site.Site) (Status, error) {
	st := Status{Dir: s.Dir, ChatURL: s.Answers.ChatURL(), ServerName: s.Answers.ServerName}
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return st, err
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		st.Services = append(st.Services, services[name])
	}
	st.Certificates, err = Certificates(s)
	return st, err
}
