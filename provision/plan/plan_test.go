package plan_test

import (
	"maps"
	"strings"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

const bridgeYAML = `homeserver: {url: "http://homeserver:8008", domain: example.org}
appservice: {url: "http://bridge:29328", hs_token_file: hs, as_token_file: as}
rocketchat: {url: "http://rocketchat:3000", site_url: "https://chat.example.org", user_id: u, token_file: t, create_token_secret_file: c}
database: sqlite:/data/bridge.db
`

func wanted() plan.Wanted {
	return plan.Wanted{
		Files: render.Files{
			"compose.yaml":                 {Mode: 0o644, Data: []byte("services")},
			".env":                         {Mode: 0o600, Data: []byte("A=1")},
			"config/nginx/nginx.conf":      {Mode: 0o644, UID: 101, Data: []byte("events {}")},
			"config/bridge/bridge.yaml":    {Mode: 0o644, UID: 10500, Data: []byte(bridgeYAML)},
			"config/homeserver/secret.pem": {Mode: 0o600, UID: 10500, Data: []byte("key")},
		},
		Image: "appliance-program:new", Hosts: []string{"chat.example.org", "example.org"}, Profiles: []string{"acme"},
	}
}

// settled returns the state of a host on which everything is as wanted.
func settled(w plan.Wanted) plan.State {
	s := plan.State{
		Manifest: plan.Manifest{Files: map[string]plan.Record{}},
		Disk:     map[string]plan.Disk{},
		Images:   map[string]bool{w.Image: true, "nginx:1": true},
		Services: map[string]plan.Service{}, Hashes: map[string]string{},
		Certificates: map[string]string{},
	}
	for path, f := range w.Files {
		s.Disk[path] = plan.Disk{Exists: true, File: f}
		s.Manifest.Files[path] = plan.Record{Rendered: plan.Identity(path, f.Data)}
	}
	for _, name := range []string{"nginx", "certs", "bridge"} {
		s.Hashes[name] = "1"
		s.Services[name] = plan.Service{Name: name, State: "running", Health: "healthy", ConfigHash: "1"}
	}
	return s
}

func write(s plan.State, path, text string) {
	d := s.Disk[path]
	d.Data = []byte(text)
	s.Disk[path] = d
}

func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*plan.Wanted, *plan.State)
		choice plan.Choice
		want   string
	}{
		"an unchanged host": {func(*plan.Wanted, *plan.State) {}, plan.Ask, ""},
		"a new host": {func(w *plan.Wanted, s *plan.State) {
			*s = plan.State{
				Images:       map[string]bool{w.Image: false, "nginx:1": false, "mongo:8": false},
				Unrecorded:   []string{"mongo:8", "nginx:1"},
				Certificates: map[string]string{"chat.example.org": "none on disk", "example.org": "none on disk"},
				MissingDirs:  []string{"config"}, Bootstrap: "Rocket.Chat is not running yet",
			}
			w.NewSecrets = []secrets.Name{secrets.ASToken, secrets.HSToken}
		}, plan.Ask, "" +
			" 1. secrets            generate 2 secrets (none on disk)\n" +
			" 2. files              write the configuration (new installation) [after secrets]\n" +
			" 3. certificate        get a certificate for chat.example.org (none on disk) [after files]\n" +
			" 4. certificate        get a certificate for example.org (none on disk) [after files]\n" +
			" 5. program-image      build the appliance image (not built yet)\n" +
			" 6. images             fetch mongo:8, nginx:1 (not on this host) [after files]\n" +
			" 7. image-lock         lock the images (2 are not locked yet) [after files, images]\n" +
			" 8. services           start the services (none are running) [after files, certificate, program-image, images, image-lock]\n" +
			" 9. bootstrap          create the administrator and the bridge account (Rocket.Chat is not running yet) [after services]\n"},
		"a name that was given to another image": {func(_ *plan.Wanted, s *plan.State) {
			s.Images["nginx:1"], s.Strangers, s.Replaced = false, []string{"nginx:1"}, []string{"nginx"}
		}, plan.Ask, "" +
			" 1. images             fetch nginx:1 (the lock names other images)\n" +
			" 2. services           start the services (image of nginx changed) [after images]\n"},
		"an image that was rebuilt on this host": {func(_ *plan.Wanted, s *plan.State) {
			s.Unrecorded, s.Replaced = []string{"nginx:1"}, []string{"nginx"}
		}, plan.Ask, "" +
			" 1. image-lock         lock the images (nginx:1 is not locked yet)\n" +
			" 2. services           start the services (image of nginx changed) [after image-lock]\n"},
		"other images": {func(w *plan.Wanted, s *plan.State) {
			w.Files[".env"] = render.File{Mode: 0o600, Data: []byte("NGINX_IMAGE=nginx:2")}
			write(*s, ".env", "NGINX_IMAGE=nginx:1")
			s.Manifest.Files[".env"] = plan.Record{Rendered: plan.Identity(".env", []byte("NGINX_IMAGE=nginx:1"))}
		}, plan.Ask, "" +
			" 1. files              write the configuration (.env differs)\n" +
			" 2. image-lock         lock the images (images change) [after files]\n" +
			" 3. services           start the services (configuration changed) [after files, image-lock]\n"},
		"a new build of this program": {func(w *plan.Wanted, s *plan.State) {
			s.Images[w.Image] = false
			write(*s, ".env", "A=0")
			s.Manifest.Files[".env"] = plan.Record{Rendered: plan.Identity(".env", []byte("A=0"))}
		}, plan.Ask, "" +
			" 1. files              write the configuration (.env differs)\n" +
			" 2. program-image      build the appliance image (not built yet)\n" +
			" 3. services           start the services (configuration changed) [after files, program-image]\n"},
		"a service that died": {func(_ *plan.Wanted, s *plan.State) {
			s.Services["bridge"] = plan.Service{Name: "bridge", State: "exited", ConfigHash: "1"}
			delete(s.Services, "certs")
		}, plan.Ask, " 1. services           start the services (bridge, certs are not healthy)\n"},
		"an override that the operator wrote": {func(_ *plan.Wanted, s *plan.State) { s.Hashes["nginx"] = "2" }, plan.Ask,
			" 1. services           start the services (configuration of nginx changed)\n"},
		"a file with the wrong mode": {func(_ *plan.Wanted, s *plan.State) {
			d := s.Disk["config/homeserver/secret.pem"]
			d.Mode = 0o644
			s.Disk["config/homeserver/secret.pem"] = d
		}, plan.Ask, " 1. files              write the configuration (secret.pem differs)\n"},
		"an expired certificate": {func(_ *plan.Wanted, s *plan.State) {
			s.Certificates["example.org"] = "the one on disk has expired"
		}, plan.Ask, " 1. certificate        get a certificate for example.org (the one on disk has expired)\n"},
		"a certificate while nginx has the port and no service answers behind it": {func(_ *plan.Wanted, s *plan.State) {
			s.Certificates["example.org"] = "none on disk"
			delete(s.Services, "certs")
		}, plan.Ask, "" +
			" 1. services           start the services (certs is not healthy)\n" +
			" 2. certificate        get a certificate for example.org (none on disk) [after services]\n"},
		"bridge.yaml with live keys that the operator changed": {func(_ *plan.Wanted, s *plan.State) {
			write(*s, plan.BridgeFile, "# mine\nenabled: false\n"+bridgeYAML)
		}, plan.Ask, ""},
		"a service that is no longer wanted": {func(w *plan.Wanted, s *plan.State) { w.Profiles = nil; delete(s.Hashes, "certs") }, plan.Ask,
			" 1. services           start the services (certs is no longer wanted)\n"},
		"bridge.yaml as an editor of root's left it": {func(_ *plan.Wanted, s *plan.State) {
			d := s.Disk[plan.BridgeFile]
			d.UID = 0
			s.Disk[plan.BridgeFile] = d
		}, plan.Ask, ""},
		"bridge.yaml that the bridge cannot read": {func(_ *plan.Wanted, s *plan.State) {
			d := s.Disk[plan.BridgeFile]
			d.UID, d.Mode = 0, 0o600
			s.Disk[plan.BridgeFile] = d
		}, plan.Ask, " 1. files              write the configuration (bridge.yaml differs)\n"},
		"an edited file that is kept": {func(_ *plan.Wanted, s *plan.State) { write(*s, "config/nginx/nginx.conf", "mine") }, plan.Accept,
			" 1. files              write the configuration (directories or records are missing)\n"},
		"an edited file that is put back": {func(_ *plan.Wanted, s *plan.State) { write(*s, "config/nginx/nginx.conf", "mine") }, plan.Overwrite, "" +
			" 1. files              write the configuration (nginx.conf differs)\n" +
			" 2. load               restart nginx with what is on disk (nginx.conf is not in force) [after files]\n"},
		"what is on disk and is not in force": {func(_ *plan.Wanted, s *plan.State) {
			s.NotLoaded = map[string][]string{"nginx": {"config/nginx/nginx.conf"}, "homeserver": {"config/homeserver/dendrite.yaml"}}
		}, plan.Ask, " 1. load               restart nginx with what is on disk (nginx.conf is not in force)\n"},
		"what is on disk and will be in force when the service is started": {func(w *plan.Wanted, s *plan.State) {
			s.NotLoaded = map[string][]string{"nginx": {"config/nginx/nginx.conf"}}
			w.Files[".env"] = render.File{Mode: 0o600, Data: []byte("A=1\nNGINX_CONFIG=2")}
		}, plan.Overwrite, "" +
			" 1. files              write the configuration (.env differs)\n" +
			" 2. services           start the services (configuration changed) [after files]\n"},
		"an edited file that was kept before": {func(w *plan.Wanted, s *plan.State) {
			const path = "config/nginx/nginx.conf"
			write(*s, path, "mine")
			s.Manifest.Files[path] = plan.Record{Rendered: plan.Identity(path, w.Files[path].Data), Kept: plan.Identity(path, []byte("mine"))}
		}, plan.Ask, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := wanted()
			s := settled(w)
			c.change(&w, &s)
			if got := plan.Make(w, s, c.choice).String(); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestAPlanIsTheSameEveryTime(t *testing.T) {
	w := wanted()
	s := settled(w)
	s.Disk, s.Services = map[string]plan.Disk{}, map[string]plan.Service{}
	first := plan.Make(w, s, plan.Ask).String()
	for range 20 {
		if again := plan.Make(w, s, plan.Ask).String(); again != first {
			t.Fatalf("%s\n%s", first, again)
		}
	}
}

func TestEditsAreNoticed(t *testing.T) {
	w := wanted()
	s := settled(w)
	write(s, "config/nginx/nginx.conf", "mine")
	write(s, plan.BridgeFile, strings.Replace(bridgeYAML, "example.org", "evil.example", 1))
	if got := strings.Join(plan.Edited(w, s), " "); got != "config/bridge/bridge.yaml config/nginx/nginx.conf" {
		t.Errorf("%s", got)
	}
	// A file that was not touched since it was written, but would now be rendered differently, is no edit.
	s = settled(w)
	changed := w
	changed.Files = maps.Clone(w.Files)
	changed.Files["compose.yaml"] = render.File{Mode: 0o644, Data: []byte("services: newer")}
	if got := plan.Edited(changed, s); len(got) != 0 {
		t.Errorf("%v", got)
	}
	// An edit that was kept is noticed again when the rendered file changes.
	const path = "config/nginx/nginx.conf"
	write(s, path, "mine")
	s.Manifest.Files[path] = plan.Record{Rendered: plan.Identity(path, []byte("older")), Kept: plan.Identity(path, []byte("mine"))}
	if got := plan.Edited(w, s); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// Editing appliance.yaml, as its header suggests, works: the edit is accepted and recorded,
// and the next change is planned like any other.
func TestAnEditOfTheAnswersIsTakenAndRecorded(t *testing.T) {
	answersOf := func(email string) []byte {
		a, err := answers.Parse("a", []byte("domain: chat.example.org\nemail: "+email))
		if err != nil {
			t.Fatal(err)
		}
		return a.Marshal("appliance up")
	}
	w := wanted()
	w.Files[plan.AnswersFile] = render.File{Mode: 0o600, Data: answersOf("old@example.org")}
	s := settled(w)

	write(s, plan.AnswersFile, string(answersOf("new@example.org")))
	w.OwnAnswers = true
	w.Files[plan.AnswersFile] = render.File{Mode: 0o600, Data: answersOf("new@example.org")}
	if got := plan.Make(w, s, plan.Ask).String(); got != " 1. files              record what was edited by hand (appliance.yaml differs from the record)\n" {
		t.Errorf("%s", got)
	}
	w.Files[plan.AnswersFile] = render.File{Mode: 0o600, Data: answersOf("newer@example.org")} // as config set makes it
	if got := plan.Edited(w, s); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := plan.Make(w, s, plan.Ask).String(); got != " 1. files              write the configuration (appliance.yaml differs)\n" {
		t.Errorf("%s", got)
	}
	w.OwnAnswers = false // answers of another file, without the edit
	if got := plan.Edited(w, s); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestDifferencesShowLinesButNoSecrets(t *testing.T) {
	w := wanted()
	have := render.File{Data: []byte("key of mine")}
	if got := plan.Difference("config/homeserver/secret.pem", have, w.Files["config/homeserver/secret.pem"]); strings.Contains(got, "mine") {
		t.Errorf("%s", got)
	}
	got := plan.Difference("config/nginx/nginx.conf", render.File{Data: []byte("events {}\nmine\n")}, w.Files["config/nginx/nginx.conf"])
	if got != "on this host: mine" {
		t.Errorf("%s", got)
	}
	got = plan.Difference(plan.BridgeFile, render.File{Data: []byte(strings.Replace(bridgeYAML, "example.org", "evil.example", 1))}, w.Files[plan.BridgeFile])
	if got != "keys that belong to appliance.yaml were changed: homeserver.domain" {
		t.Errorf("%s", got)
	}
	got = plan.Difference(plan.BridgeFile, render.File{Data: []byte("log_level: loud\n" + bridgeYAML)}, w.Files[plan.BridgeFile])
	if !strings.Contains(got, `log_level: must be one of`) {
		t.Errorf("%s", got)
	}
}

func TestAnswersAreTheSameHoweverTheyAreWritten(t *testing.T) {
	a, err := answers.Parse("a", []byte("domain: chat.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Identity(plan.AnswersFile, []byte("# hello\ndomain:   chat.example.org\n")) != plan.Identity(plan.AnswersFile, a.Marshal("")) {
		t.Error("a comment is an edit")
	}
}
