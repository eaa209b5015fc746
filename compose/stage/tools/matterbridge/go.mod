// Matterbridge, which make bench measures beside the bridge, with the networks that it is
// not asked for left out (see bench.sh). It is built here and is part of nothing that is shipped.
module appliance/compose/stage/tools/matterbridge

go 1.26.0

tool github.com/42wim/matterbridge

require github.com/42wim/matterbridge v1.26.0

require (
	github.com/Jeffail/gabs v1.4.0 // indirect
	github.com/apex/log v1.9.0 // indirect
	github.com/d5/tengo/v2 v2.13.0 // indirect
	github.com/fsnotify/fsnotify v1.6.0 // indirect
	github.com/gomarkdown/markdown v0.0.0-20221013030248-663e2500819c // indirect
	github.com/google/gops v0.3.26 // indirect
	github.com/gopackage/ddp v0.0.3 // indirect
	github.com/gorilla/schema v1.2.0 // indirect
	github.com/gorilla/websocket v1.5.0 // indirect
	github.com/hashicorp/golang-lru v0.6.0 // indirect
	github.com/hashicorp/hcl v1.0.0 // indirect
	github.com/kyokomi/emoji/v2 v2.2.11 // indirect
	github.com/magiconair/properties v1.8.7 // indirect
	github.com/matterbridge/Rocket.Chat.Go.SDK v0.0.0-20211016222428-79310a412696 // indirect
	github.com/matterbridge/gomatrix v0.0.0-20220411225302-271e5088ea27 // indirect
	github.com/matterbridge/logrus-prefixed-formatter v0.5.3-0.20200523233437-d971309a77ba // indirect
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.16 // indirect
	github.com/mgutz/ansi v0.0.0-20200706080929-d51e80ef957d // indirect
	github.com/mitchellh/mapstructure v1.5.0 // indirect
	github.com/nelsonken/gomf v0.0.0-20190423072027-c65cc0469e94 // indirect
	github.com/pelletier/go-toml/v2 v2.0.6 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/sirupsen/logrus v1.9.0 // indirect
	github.com/slack-go/slack v0.12.1 // indirect
	github.com/spf13/afero v1.9.3 // indirect
	github.com/spf13/cast v1.5.0 // indirect
	github.com/spf13/jwalterweatherman v1.1.0 // indirect
	github.com/spf13/pflag v1.0.5 // indirect
	github.com/spf13/viper v1.15.0 // indirect
	github.com/subosito/gotenv v1.4.2 // indirect
	golang.org/x/crypto v0.4.0 // indirect
	golang.org/x/image v0.3.0 // indirect
	golang.org/x/net v0.5.0 // indirect
	golang.org/x/sys v0.4.0 // indirect
	golang.org/x/term v0.4.0 // indirect
	golang.org/x/text v0.6.0 // indirect
	gopkg.in/ini.v1 v1.67.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
