#!/usr/bin/env bash
# Checks the source without running it: formatting, go.mod, go vet and what
# .golangci.yml lists (staticcheck among it), and code that nothing reaches. Called
# by `make lint`. Needs Go alone; the linters are built into the cache, once per version.
. "$(dirname "$0")/lib.sh"
cd "$root"

unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
[ -z "$unformatted" ] || die "not formatted: $(tr '\n' ' ' <<<"$unformatted")" "type: gofmt -w $(tr '\n' ' ' <<<"$unformatted")"
go mod tidy -diff
go vet ./...

tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
GOLANGCI_LINT_CACHE=$cache/golangci-lint "$cache/bin/golangci-lint" run ./...

# Code that no program and no test reaches.
tool deadcode golang.org/x/tools/cmd/deadcode
dead=$("$cache/bin/deadcode" -test ./... ./cmd/appliance/testdata/fakehost)
[ -z "$dead" ] || die "nothing calls these:"$'\n'"$dead" "remove them"
