#!/usr/bin/env bash
# Renders the Helm chart with Helm, and applies the result to a real API server with controllers
# and scheduler, on loopback. Then runs the manifests as pods of three kubelets in network
# namespaces, and breaks those while people talk. Called by `make test-kubernetes`, after
# setup.sh and images.sh. The servers are built from their Go modules, once per version:
# half an hour where others work too. etcd and the plugins of networks are Debian's,
# containerd and runc those of Docker.
#
#   kubernetes.sh [chart|pods] [ARGUMENTS...]   one of the two parts, with arguments of `go test`
. "$(dirname "$0")/lib.sh"
part=both
case ${1:-} in chart | pods) part=$1 && shift ;; esac
version=1.34.4 # as tools/kubernetes/go.mod has it
grep -q "k8s.io/kubernetes v$version " "$stage/tools/kubernetes/go.mod" || die "tools/kubernetes/go.mod has another version than $version"

want=$(cat "$stage/tools/kubernetes/go.mod" "$stage/tools/kubernetes/go.sum" | sha256sum | cut -c1-16)
if [ "$(cat "$cache/bin/kubernetes.version" 2>/dev/null)" != "$want" ]; then
	say "building Kubernetes $version (once; up to half an hour)"
	at=k8s.io/component-base/version
	quietly build-kubernetes nice -n 19 go -C "$stage/tools/kubernetes" build -p 2 -trimpath -buildvcs=false \
		-ldflags "-s -w -X $at.gitVersion=v$version -X $at.gitMajor=1 -X $at.gitMinor=$(cut -d. -f2 <<<"$version")" \
		-o "$cache/bin/" k8s.io/kubernetes/cmd/kube-{apiserver,controller-manager,proxy,scheduler} k8s.io/kubernetes/cmd/kube{let,ctl}
	echo "$want" >"$cache/bin/kubernetes.version"
fi
tool coredns .
if [ ! -x "$cache/bin/etcd" ] || [ ! -x "$cache/bin/cni/loopback" ]; then
	say "fetching etcd and the plugins of networks"
	away=$(mktemp -d)
	chmod 755 "$away"
	(
		cd "$away" && apt-get download -q etcd-server containernetworking-plugins >/dev/null 2>&1 &&
			dpkg -x etcd-server_*.deb . && dpkg -x containernetworking-plugins_*.deb . &&
			install -m 755 usr/bin/etcd "$cache/bin/etcd" && install -D -m 755 -t "$cache/bin/cni" usr/lib/cni/{bridge,host-local,loopback}
	) || die "etcd-server and containernetworking-plugins are not in this system's packages" "put a program etcd into $cache/bin, and bridge, host-local and loopback into $cache/bin/cni"
	rm -rf "$away"
fi
export APPLIANCE_KUBERNETES=$cache/bin

if [ "$part" != pods ]; then
	# The kinds of others, out of their modules.
	definitions=()
	for m in sigs.k8s.io/gateway-api@v1.3.0=config/crd/standard/gateway.networking.k8s.io_httproutes.yaml \
		github.com/prometheus-operator/prometheus-operator@v0.82.0=example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml \
		github.com/prometheus-operator/prometheus-operator@v0.82.0=example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml; do
		dir=$(cd "$cache" && GOFLAGS=-mod=mod go mod download -json "${m%%=*}" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
		[ -n "$dir" ] || die "${m%%=*} could not be fetched"
		definitions+=("$dir/${m#*=}")
	done

	APPLIANCE_DEFINITIONS=$(IFS=:; echo "${definitions[*]}") \
		go -C "$stage/kubernetes" test -count=1 -v -timeout 30m "$@" .
fi
if [ "$part" != chart ]; then
	cd "$root"
	APPLIANCE_MUST_RUN=TestKubernetes go test -v -count=1 -timeout 30m -run '^TestKubernetes$' "$@" ./provision/kubernetes
fi
