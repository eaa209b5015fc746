package render

import "appliance/provision/answers"

type nginxFields struct {
	Domain, ServerName string
	Hosts              []string
	SiteURL            string
	FederationAddress  string
	HSTS               bool
	Connections        int // of each process
	PerVisitor         int // connections of one address; a whole office may share it
	SynapseAdmin       bool
	Metrics            bool
	Homeserver         bool   // is ours
	RocketChat         bool   // is ours
	ChatURL            string // of one that is not
}

func nginxData(in Input) nginxFields {
	a := in.Answers
	return nginxFields{
		Domain: a.Domain, ServerName: a.ServerName, Hosts: a.Hosts(),
		SiteURL: a.SiteURL(), FederationAddress: a.FederationAddress(),
		// Browsers block pages whose authority they do not know.
		HSTS:        a.TLS != answers.Internal,
		Connections: in.memory().connections(), PerVisitor: in.memory().connections() * 3 / 4,
		Homeserver: a.BundledHomeserver(), RocketChat: a.BundledRocketChat(), ChatURL: a.ChatURL(), SynapseAdmin: a.SynapseAdmin, Metrics: a.Metrics,
	}
}
