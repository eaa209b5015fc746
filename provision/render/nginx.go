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
	Monitoring         bool
	Homeserver         bool     // is ours
	RocketChat         bool     // is ours
	ChatURL            string   // of one that is not
	Names              []string // of the server that handles everything
	Apex               bool     // there is another server for the name in Matrix addresses
	Plain              bool     // a web server in front terminates TLS
	Scheme             string   // of the visitor's connection, as nginx writes it
	Trusted            []string // networks of the web servers in front
}

func nginxData(in Input) nginxFields {
	a := in.Answers
	names, scheme := []string{a.Domain}, "$scheme"
	if a.Delegation == answers.DelegationSRV && a.BundledHomeserver() && a.ServerName != a.Domain {
		names = append(names, a.ServerName)
	}
	if a.TLS == answers.NoTLS {
		scheme = "https"
	}
	return nginxFields{
		Names: names, Apex: a.BundledHomeserver() && a.ServerName != a.Domain && a.Delegation == answers.DelegationHere,
		Plain: a.TLS == answers.NoTLS, Scheme: scheme, Trusted: a.Trusted(),
		Domain: a.Domain, ServerName: a.ServerName, Hosts: a.Hosts(),
		SiteURL: a.SiteURL(), FederationAddress: a.FederationAddress(),
		// Browsers block pages whose authority they do not know.
		HSTS:        a.TLS != answers.Internal && a.TLS != answers.NoTLS,
		Connections: in.memory().connections(), PerVisitor: in.memory().connections() * 3 / 4,
		Homeserver: a.BundledHomeserver(), RocketChat: a.BundledRocketChat(), ChatURL: a.ChatURL(), SynapseAdmin: a.SynapseAdmin, Metrics: a.Metrics, Monitoring: a.Monitoring,
	}
}
