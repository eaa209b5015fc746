package external

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/finding"
	"appliance/provision/render"
)

// mongoCheck returns the check of the MongoDB of mongo_url.
func mongoCheck(a answers.Answers) finding.Check {
	return finding.Check{Name: "mongo", Run: func(ctx context.Context) finding.Finding {
		version, err := Mongo(ctx, a)
		if rc := rocketChatMajor(); err == nil && rc >= 8 && major(version) < 8 {
			return finding.Warning("MongoDB "+version+" of mongo_url is old", fmt.Sprintf("Rocket.Chat %d is tested with MongoDB 8.0", rc), "upgrade it; see docs/upgrade.md")
		}
		return judge(err, []string{"rocketchat", "bridge"}, "MongoDB %s of mongo_url can be used", version)
	}}
}

// Mongo checks the MongoDB of mongo_url and returns its version. It writes nothing there.
func Mongo(ctx context.Context, a answers.Answers) (version string, err error) {
	l := looker{a: a}
	if l.url, err = answers.ParseMongo(a.MongoURL); err != nil {
		return "", l.at(a.MongoURL).error("correct it: appliance config set mongo_url=...", "mongo_url %v", err)
	}
	if err := l.lookUp(ctx); err != nil {
		return "", err
	}
	if err := l.trust(); err != nil {
		return "", err
	}
	g, seed, err := l.anyOne(ctx)
	if err != nil {
		return "", err
	}
	primary, err := l.primary(ctx, g, seed)
	if err != nil {
		return "", err
	}
	return l.signIn(ctx, primary)
}

// A looker checks one MongoDB once.
type looker struct {
	a      answers.Answers
	url    answers.Mongo
	secure *tls.Config // nil without TLS
}

// at returns the service at one of its hosts.
func (l looker) at(host string) service {
	return service{summary: "Rocket.Chat cannot use the MongoDB of mongo_url", key: "mongo_url", caKey: "mongo_ca_file", caFile: l.a.MongoCAFile, host: host}
}

// lookUp gets the hosts and the options from DNS, if the URL says so.
func (l *looker) lookUp(ctx context.Context) error {
	if !l.url.Lookup {
		for i, host := range l.url.Hosts {
			if _, _, err := net.SplitHostPort(host); err != nil {
				l.url.Hosts[i] = net.JoinHostPort(strings.Trim(host, "[]"), "27017")
			}
		}
		return nil
	}
	name := l.url.Hosts[0]
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, found, err := net.DefaultResolver.LookupSRV(ctx, "mongodb", "tcp", name)
	if err != nil || len(found) == 0 {
		return l.at(name).error("correct the name, or name the hosts themselves: appliance config set mongo_url=mongodb://user:password@host1,host2/rocketchat",
			"DNS has no record _mongodb._tcp.%s, which mongodb+srv asks for", name)
	}
	l.url.Hosts = nil
	for _, one := range found {
		l.url.Hosts = append(l.url.Hosts, net.JoinHostPort(strings.TrimSuffix(one.Target, "."), strconv.Itoa(int(one.Port))))
	}
	texts, _ := net.DefaultResolver.LookupTXT(ctx, name) // there need not be one
	more, _ := url.ParseQuery(strings.Join(texts, ""))
	for key := range more {
		if l.url.Option(key) == "" && slices.Contains([]string{"authsource", "replicaset"}, strings.ToLower(key)) {
			l.url.Options[key] = more[key]
		}
	}
	return nil
}

// trust determines which certificate a host must show.
func (l *looker) trust() error {
	on, _ := l.url.TLS()
	if !on && l.a.MongoCAFile == "" {
		return nil
	}
	l.secure = &tls.Config{MinVersion: tls.VersionTLS12}
	pem, err := certs.Authorities(l.a.MongoCAFile)
	if err != nil {
		return l.at("").error("name a file in PEM: appliance config set mongo_ca_file=/etc/ca.pem", "mongo_ca_file cannot be used: %v", err)
	}
	if pem != nil {
		l.secure.RootCAs = x509.NewCertPool()
		l.secure.RootCAs.AppendCertsFromPEM(pem)
	}
	switch {
	case l.url.Option("tlsInsecure") == "true":
		l.secure.InsecureSkipVerify = true //nolint:gosec // the operator says so
	case l.url.Option("tlsAllowInvalidHostnames") == "true":
		roots := l.secure.RootCAs
		l.secure.InsecureSkipVerify = true //nolint:gosec // but for what follows
		l.secure.VerifyConnection = func(s tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			return err
		}
	}
	return nil
}

// anyOne returns the greeting of one of the hosts in the URL, and which one it is from:
// Rocket.Chat tries all of them too, and the others may be down.
func (l looker) anyOne(ctx context.Context) (greeting, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type answer struct {
		greeting
		err error
		n   int
	}
	said := make(chan answer, len(l.url.Hosts))
	for n, host := range l.url.Hosts {
		go func() {
			g, err := greet(ctx, host, l.secure)
			said <- answer{g, err, n}
		}()
	}
	errs := make([]error, len(l.url.Hosts))
	for range l.url.Hosts {
		one := <-said
		if one.err == nil {
			return one.greeting, l.url.Hosts[one.n], nil
		}
		errs[one.n] = one.err
	}
	return greeting{}, "", l.explain(l.url.Hosts[0], errs[0])
}

// primary returns the address of the member that accepts writes, under the name by which
// Rocket.Chat will look for it.
func (l looker) primary(ctx context.Context, g greeting, seed string) (string, error) {
	s := l.at(seed)
	wanted := l.url.Option("replicaSet")
	name, _, _ := net.SplitHostPort(seed)
	switch {
	case g.SetName == "" && g.Kind == "isdbgrid":
		return "", s.error("name the members of a replica set in mongo_url", "%s is a mongos, and Rocket.Chat needs a replica set", seed)
	case g.SetName == "":
		return "", s.error("start it with --replSet rs0, and then, in mongosh: rs.initiate({_id: \"rs0\", members: [{_id: 0, host: \""+seed+"\"}]})",
			"%s is not a member of a replica set, and Rocket.Chat needs one, of one member at least", seed)
	case wanted != "" && wanted != g.SetName:
		return "", s.error("write replicaSet="+g.SetName+" in mongo_url", "its replica set is called %s, and mongo_url says replicaSet=%s", g.SetName, wanted)
	case l.url.Option("directConnection") == "true" && !g.Writable:
		return "", s.error("leave directConnection=true out of mongo_url", "%s is not the primary of its replica set, and mongo_url allows no other", seed)
	case l.url.Option("directConnection") == "true":
		return seed, nil
	}
	for _, member := range g.Hosts {
		if host := answers.MongoHost(member); answers.Itself(host) && !answers.Itself(name) {
			return "", s.error("give the member a name that all reach, in mongosh: c = rs.conf(); c.members[0].host = \""+seed+"\"; rs.reconfig(c)",
				"its replica set %s calls a member %s, which is a different host for each client", g.SetName, member)
		}
	}
	if g.Primary == "" {
		return "", s.error("see why, in mongosh there: rs.status()", "the replica set %s of %s has no primary, so that nothing can be written", g.SetName, seed)
	}
	if g.Primary == seed {
		return seed, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	if _, err := greet(ctx, g.Primary, l.secure); err != nil {
		return "", l.unreachable(g, l.explain(g.Primary, err))
	}
	return g.Primary, nil
}

// unreachable explains that the primary cannot be reached under its own name.
func (l looker) unreachable(g greeting, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	out := *e
	out.Why = fmt.Sprintf("Rocket.Chat looks for the members of the replica set %s under the names that they have there, and its primary is %s: %s", g.SetName, g.Primary, e.Why)
	if strings.Contains(e.Fix, "mongo_url") { // which does not name it
		out.Fix = "let this host and its containers reach " + g.Primary + ", or give the member another name, in mongosh: c = rs.conf(); c.members[0].host = \"name:27017\"; rs.reconfig(c)"
	}
	return &out
}

// explain describes what is wrong with a connection to a host.
func (l looker) explain(host string, err error) error {
	s := l.at(host)
	name, _, _ := net.SplitHostPort(host)
	switch {
	case errors.Is(err, errNoTLS):
		return s.error("turn TLS on in that server (net.tls.mode), or take "+l.askedFor()+" out of mongo_url", "%s has no TLS", host)
	case errors.Is(err, errTLSOnly):
		return s.error("add tls=true to mongo_url, and name the authorities of its certificate: appliance config set mongo_ca_file=/etc/ca.pem", "%s takes connections with TLS only", host)
	case errors.Is(err, errWantsClient):
		return s.error("set net.tls.allowConnectionsWithoutCertificates in that server: Rocket.Chat has none", "%s requires a client certificate", host)
	case errors.Is(err, errNotItsAnswer), rejected(err):
		return s.error("correct the port of "+name+" in mongo_url", "%s does not answer as MongoDB does", host)
	}
	if found := s.connection(err); found != nil {
		return found
	}
	return s.error("see the log of that server", "%s: %s", host, l.without(err.Error()))
}

// askedFor returns what in the answers turns TLS on.
func (l looker) askedFor() string {
	switch on, said := l.url.TLS(); {
	case said && on:
		return "tls=true"
	case l.url.Lookup:
		return "+srv"
	}
	return "mongo_ca_file, and nothing"
}

// without returns a text without the password.
func (l looker) without(text string) string {
	if l.url.Password == "" {
		return text
	}
	return strings.NewReplacer(l.url.Password, "***", url.QueryEscape(l.url.Password), "***", url.PathEscape(l.url.Password), "***").Replace(text)
}

// needed are the actions that the user must be allowed in the database.
var needed = []string{"find", "insert", "update", "remove", "createCollection", "createIndex", "dropIndex", "listCollections", "listIndexes", "changeStream"}

// A status is what MongoDB reports about the connected user.
type status struct {
	Info struct {
		Users      []bson.D `bson:"authenticatedUsers"`
		Privileges []struct {
			Resource struct {
				DB         *string `bson:"db"`
				Collection *string `bson:"collection"`
				Any        bool    `bson:"anyResource"`
			} `bson:"resource"`
			Actions []string `bson:"actions"`
		} `bson:"authenticatedUserPrivileges"`
	} `bson:"authInfo"`
}

// lacks returns the needed actions that are not allowed in a database.
func (s status) lacks(database string) []string {
	return slices.DeleteFunc(slices.Clone(needed), func(action string) bool {
		for _, p := range s.Info.Privileges {
			r := p.Resource
			here := r.Any || r.DB != nil && r.Collection != nil && *r.Collection == "" && (*r.DB == "" || *r.DB == database)
			if here && (slices.Contains(p.Actions, action) || slices.Contains(p.Actions, "anyAction")) {
				return true
			}
		}
		return false
	})
}

// signIn signs in at the primary, checks what the user may do, and returns the version.
func (l looker) signIn(ctx context.Context, primary string) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := options.Client().SetHosts([]string{primary}).SetDirect(true).SetServerSelectionTimeout(patience / 2).SetConnectTimeout(patience / 2).SetMaxPoolSize(1).SetAppName("appliance").SetDisableOCSPEndpointCheck(true)
	if l.secure != nil {
		o.SetTLSConfig(forHost(l.secure, primary))
	}
	if mechanism := l.url.Option("authMechanism"); l.url.User != "" && (mechanism == "" || strings.HasPrefix(mechanism, "SCRAM-") || mechanism == "PLAIN") {
		source := cmp.Or(l.url.Option("authSource"), l.url.Database, "admin")
		if l.url.Lookup {
			source = cmp.Or(l.url.Option("authSource"), "admin")
		}
		o.SetAuth(options.Credential{AuthMechanism: mechanism, AuthSource: source, Username: l.url.User, Password: l.url.Password, PasswordSet: true})
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return "", l.explain(primary, err)
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	database := client.Database(l.url.DatabaseOrDefault())
	var seen status
	if err := database.RunCommand(ctx, bson.D{{Key: "connectionStatus", Value: 1}, {Key: "showPrivileges", Value: true}}).Decode(&seen); err != nil {
		return "", l.refused(primary, err)
	}
	if err := l.allowed(ctx, database, seen, primary); err != nil {
		return "", err
	}
	var build struct {
		Version string `bson:"version"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return "", l.refused(primary, err)
	}
	if rc, least := rocketChatMajor(), leastMongo(); major(build.Version) < least {
		return "", l.at(primary).error("upgrade that MongoDB, one version after the other, or name another one in mongo_url", "%s is MongoDB %s; Rocket.Chat %d starts with %d.0 or later only", primary, build.Version, rc, least)
	}
	return build.Version, nil
}

// allowed returns an error if the user lacks a right that Rocket.Chat needs.
func (l looker) allowed(ctx context.Context, database *mongo.Database, seen status, primary string) error {
	s, name := l.at(primary), l.url.DatabaseOrDefault()
	if len(seen.Info.Users) == 0 { // either everybody may do everything, or nobody signed in
		err := database.RunCommand(ctx, bson.D{{Key: "listCollections", Value: 1}, {Key: "nameOnly", Value: true}}).Err()
		if e, ok := errors.AsType[mongo.CommandError](err); ok && e.Code == codeUnauthorized && l.url.User == "" {
			return s.error("name a user and its password: appliance config set mongo_url=mongodb://user:password@host/"+name, "%s lets nobody in without a user, and mongo_url names none", primary)
		}
		return l.refused(primary, err)
	}
	if lacks := seen.lacks(name); len(lacks) > 0 {
		return s.error("let it, as the administrator of that MongoDB, in mongosh: db.getSiblingDB("+strconv.Quote(cmp.Or(l.url.Option("authSource"), "admin"))+").grantRolesToUser("+strconv.Quote(l.url.User)+", [{role: \"readWrite\", db: "+strconv.Quote(name)+"}])",
			"the user %s may not %s in the database %s", l.url.User, strings.Join(lacks, ", "), name)
	}
	return nil
}

// Error codes of MongoDB.
const codeUnauthorized, codeAuthenticationFailed, codeMechanismUnavailable = 13, 18, 334

// refused explains the failure of a command, or of the sign-in before it.
func (l looker) refused(host string, err error) error {
	if err == nil {
		return nil
	}
	code := int32(0)
	if e, ok := errors.AsType[driver.Error](err); ok {
		code = e.Code
	}
	if e, ok := errors.AsType[mongo.CommandError](err); ok {
		code = e.Code
	}
	source := cmp.Or(l.url.Option("authSource"), l.url.Database, "admin")
	switch code {
	case codeAuthenticationFailed, codeMechanismUnavailable:
		return l.at(host).error("correct the user, the password or authSource in the URL: appliance config set mongo_url=mongodb://user:password@host/"+l.url.DatabaseOrDefault()+"?authSource=admin",
			"%s does not accept the user or the password; it looked for the user in the database %s", host, source)
	case codeUnauthorized:
		return l.at(host).error("let the user in, with the role readWrite in "+l.url.DatabaseOrDefault(), "%s says: %s", host, l.without(err.Error()))
	}
	return l.explain(host, err)
}

var firstNumber = regexp.MustCompile(`^\d+`)

// major is the first number of a version; 0 where there is none.
func major(version string) int {
	n, _ := strconv.Atoi(firstNumber.FindString(version))
	return n
}

// rocketChatMajor is the major version of the Rocket.Chat that this release pins.
func rocketChatMajor() int {
	_, tag, _ := strings.Cut(render.Images()["ROCKETCHAT_IMAGE"], ":")
	return major(tag)
}

// leastMongo is the oldest major version of MongoDB with which that Rocket.Chat starts.
func leastMongo() int {
	if rocketChatMajor() >= 8 {
		return 7
	}
	return 5
}
