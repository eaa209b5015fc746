#!/usr/bin/env bash
# Runs all tests of the bridge with each of the real homeservers as its own: Dendrite, Synapse, and a Synapse
# of which the bridge is told nothing. Called by `make test-homeservers`; test.sh runs a selection of them.
#
#   homeservers.sh [KINDS]   KINDS is some of "dendrite synapse generic", as one word.
. "$(dirname "$0")/lib.sh"
cd "$root"
set -a
. "$root/compose/versions.env"
set +a
. "$stage/servers.sh"
export APPLIANCE_PARSERS=$cache/parsers APPLIANCE_AXE=$cache/axe
for kind in ${1:-dendrite synapse generic}; do
	options=()
	case $kind in
	dendrite) demanded=TestSpokenToWhileJoining,TestAttackAnEvent ;;
	synapse) demanded=TestAFloodOnSynapse,TestATransactionThatSynapseHoldsBack ;;
	generic)
		demanded=TestFeature
		# A Synapse may hold a transaction back across a restart of the bridge, which `generic` does not
		# know (Traits.HoldsBack): the test with restarts runs with all the other homeservers.
		options=(-skip '^TestAConversationGoesOnAcrossAMoveOfTheDatabase$')
		;;
	*) die "there is no homeserver $kind" "name some of: dendrite synapse generic" ;;
	esac
	part "all tests of the bridge with $kind"
	APPLIANCE_TEST_FULL=1 APPLIANCE_TEST_HOMESERVER=$kind APPLIANCE_MUST_RUN=$demanded "$stage/suite.sh" ./bridge -timeout 60m "${options[@]}"
done
