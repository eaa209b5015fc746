package provision

import (
	"context"
	"maps"
	"slices"

	"appliance/provision/certs"
	"appliance/provision/operator"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// Status is the state of the services and the certificates.
type Status struct {
	Dir          string         `json:"dir"`
	ChatURL      string         `json:"chat_url"`
	ServerName   string         `json:"server_name"`
	Services     []plan.Service `json:"services"`
	Certificates []certs.Status `json:"certificates"`
	Problem      string         `json:"problem,omitempty"` // why the answers cannot be used
	Federation   string         `json:"federation"`        // on, off, or unknown where bridge.yaml cannot be read
}

// StatusOf describes an installation without judging it.
func StatusOf(ctx context.Context, s *site.Site) (Status, error) {
	st := Status{Dir: s.Dir, ChatURL: s.Answers.ChatURL(), ServerName: s.Answers.ServerName}
	if s.Unusable != nil {
		st.Problem = s.Unusable.Error()
	}
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return st, err
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		st.Services = append(st.Services, services[name])
	}
	st.Federation = operator.Federation(s)
	st.Certificates, err = Certificates(s)
	return st, err
}
