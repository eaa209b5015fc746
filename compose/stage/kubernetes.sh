#!/usr/bin/env bash
# Shows the Helm chart to Helm, and what it renders to a real API server with controllers
# and scheduler, on loopback. Called by `make test-kubernetes`. The servers are built from
# their Go modules, once per version: half an hour where others work too. etcd is Debian's.
. "$(dirname "$0")/lib.sh"
version=1.34.4 # as tools/kubernetes/go.mod has it
grep -q "k8s.io/kubernetes v$version " "$stage/tools/kubernetes/go.mod" || die "tools/kubernetes/go.mod has another version than $version"

want=$(cat "$stage/tools/kubernetes/go.mod" "$stage/tools/kubernetes/go.sum" | sha256sum | cut -c1-16)
if [ "$(cat "$cache/bin/kubernetes.version" 2>/dev/null)" != "$want" ]; then
	say "building Kubernetes $version (once; up to half an hour)"
	at=k8s.io/component-base/version
	quietly build-kubernetes nice -n 19 go -C "$stage/tools/kubernetes" build -p 2 -trimpath -buildvcs=false \
		-ldflags "-s -w -X $at.gitVersion=v$version -X $at.gitMajor=1 -X $at.gitMinor=$(cut -d. -f2 <<<"$version")" \
		-o "$cache/bin/" k8s.io/kubernetes/cmd/kube-{apiserver,controller-manager,scheduler} k8s.io/kubernetes/cmd/kubelet
	echo "$want" >"$cache/bin/kubernetes.version"
fi
if [ ! -x "$cache/bin/etcd" ]; then
	say "fetching etcd"
	away=$(mktemp -d)
	chmod 755 "$away"
	(cd "$away" && apt-get download -q etcd-server >/dev/null 2>&1 && dpkg -x etcd-server_*.deb . && install -m 755 usr/bin/etcd "$cache/bin/etcd") ||
		die "etcd-server is not in this system's packages" "put a program etcd into $cache/bin"
	rm -rf "$away"
fi

# The kinds of others, out of their modules.
definitions=()
for m in sigs.k8s.io/gateway-api@v1.3.0=config/crd/standard/gateway.networking.k8s.io_httproutes.yaml \
	github.com/prometheus-operator/prometheus-operator@v0.82.0=example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml \
	github.com/prometheus-operator/prometheus-operator@v0.82.0=example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml; do
	dir=$(cd "$cache" && GOFLAGS=-mod=mod go mod download -json "${m%%=*}" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	[ -n "$dir" ] || die "${m%%=*} could not be fetched"
	definitions+=("$dir/${m#*=}")
done

APPLIANCE_KUBERNETES=$cache/bin APPLIANCE_DEFINITIONS=$(IFS=:; echo "${definitions[*]}") \
	go -C "$stage/kubernetes" test -count=1 -v -timeout 30m "$@" .
