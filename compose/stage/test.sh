#!/usr/bin/env bash
# Runs every test of the project: the Go tests with real homeservers and a real
# database beside them, then the demo with everything that can be checked from
# outside. Called by `make test`, after setup.sh and images.sh. A demo that was
# running before goes on running.
. "$(dirname "$0")/lib.sh"
cd "$root"
set -a
. "$root/compose/versions.env"
set +a

messages=${APPLIANCE_BURST:-100}
. "$root/compose/stage/servers.sh"
# These may not be skipped here: their needs are met.
export APPLIANCE_MUST_RUN=TestQueue,TestFilesGoToTheOperatorsStorage,TestAnExternalPostgreSQLIsLookedAtFirst,TestADatabaseOfSomethingElseIsNotUsed,TestTheFrontDoor,TestTheNumbersAreForThisHostOnly,TestPrometheusReadsTheBridge,TestWhatIsOnDiskIsWhatRuns,TestAServiceThatReloadedStartsAgain,TestAttached,TestAnImageThatMovedInItsRegistryComesBackByDigest,TestTheContainersMoveToOtherAddresses,TestTheAdministratorOfSynapse,TestASecondProcessIsRefused,TestAProcessThat,TestADeliveryEndsWithItsLease,TestClocksThatDiffer,TestProcessesShare,TestPostgreSQLGoesAway,TestARoleIsHandedOver,TestALockIsShared,TestWhatAnEarlierReleaseLeft,TestNothingIsLost,TestWhatIsUnderWay,TestAConversation,TestABanThat,TestADirectMessage,TestMembersComeInPages,TestARoom,TestRoomVersions,TestFeature,TestTheGrammarIsThatOfRocketChat,TestMatrixShowsWhat,TestRocketChatShowsWhat,TestTheAlertRules,TestTheDashboardsQueries,TestTheConsoleInABrowser,TestADatabaseIsMoved,TestAPooler,TestAPostgreSQLWith,TestAMove,TestThisReleaseAndTheNext,TestWhichNewer,TestAnImageIsSavedAndLoaded,TestOnlyOldCopiesOfOthersAreForgotten,TestPostgreSQLTakesTheNewPassword,TestTheAlarmReachesTheAdministratorOnce,TestInstall,TestTheScriptsForMongoDB,TestTheWizardOnATerminal,TestNothingIsAskedTwice,TestASecondUpIsRefused,TestTwoThatBeginAtOnce,TestAHandEdit,TestADamagedNote,TestEveryCommandOfTheManualIsExecuted,TestAnEditThatCannot,TestEveryCommandSpeaksJSON,TestWhatIsTypedOftenIsFast,TestTheStatusIsWatched,TestAStatusThatDoesNotFit,TestNoCommandTouches,TestEveryFileThatIsGone,TestTwoInstallations,TestALostHost,TestAFullDisk,TestAFailedRenewal,TestFaults,TestNetworksThat,TestWhatCrashed,TestADirectoryThatDocker

# Temporary files may lie where no swap file can be.
case $(stat -f -c %T "${TMPDIR:-/tmp}") in ext2/ext3 | xfs) APPLIANCE_MUST_RUN+=,TestUpOffersASwapFile ;; esac
export APPLIANCE_PARSERS=$cache/parsers APPLIANCE_AXE=$cache/axe

# What the suites ask of the simulator is written down for Rocket.Chat's own packages.
recorded=$cache/recorded-$$.jsonl

: >"$unsteady"
# The next PostgreSQL is needed much later, and building it is mostly a download.
"$stage/images.sh" next >"$cache/images-next.log" 2>&1 &

part "the Go tests, with PostgreSQL beside them"
others=$(go list ./... | grep -v '^appliance/bridge$')
APPLIANCE_TEST_FULL=1 APPLIANCE_RECORD=$recorded "$stage/suite.sh" "${others//$'\n'/ }" -timeout 20m
part "the bridge's tests with a homeserver of their own"
APPLIANCE_TEST_FULL=1 APPLIANCE_TEST_HOMESERVER=hermetic APPLIANCE_RECORD=$recorded "$stage/suite.sh" ./bridge -timeout 20m

# With real homeservers runs what depends on them: who is in a room and may do what, what a homeserver refuses, loses,
# repeats or shows late, and federation. Two servers for each test take three times as long as those inside the
# process. `make test-homeservers` runs everything with each.
both='AConversationInARoom|ABanThat|ADeletion|ADirectMessageFromMatrix|ARoomFrom|ARoomIsRead|ATransaction|DeletionsThatMatrix|MessagesThatMatrix|NothingIsLostWhenTheHomeserver|RateLimits|RoomVersions|TheHomeserver|TheNextOne|WhatARoom|WhatIsUnder|Feature(Departures|Encrypted|Files$|History|Kicks|NamesAndPictures|Permissions|Presence|Public|Reactions|Receipts|Reconcile|RoomUpgrades|SharedHomeserver|Spaces|TheFirstOne|Typing$)'
part "the bridge with Dendrite"
APPLIANCE_TEST_FULL=1 APPLIANCE_RECORD=$recorded APPLIANCE_MUST_RUN=$APPLIANCE_MUST_RUN,TestSpokenToWhileJoining,TestAttackAnEvent "$stage/suite.sh" ./bridge -timeout 40m \
	-run "^Test($both|AGhost|ARoomWhose|AttackAnEvent|AttackFilesOf|AttackInvitationsBy|FilesThatMatrix|MembersAre|Moderators|RoomsThatCannot|SpokenTo|TwoInstallations|WhatIsWritten|Feature(ChannelsByAlias|Deletes|DirectRedactions|Edits$|GroupDirect|HostileNames|LostHints|Replies|Roles|RoomNameAndTopic|RoomsFromMatrix|SecondCopies))"

part "Rocket.Chat's own validators, types and clients"
APPLIANCE_CACHE=$cache APPLIANCE_RECORDED=$recorded APPLIANCE_MUST_RUN=TestValidators,TestTypes,TestClients,TestParsedText \
	go test -v -count=1 -timeout 20m ./bridge/rocketchat/rctest/official | grep -v '^=== '
rm -f "$recorded"

part "the bridge with Synapse in place of Dendrite"
APPLIANCE_TEST_HOMESERVER=synapse APPLIANCE_MUST_RUN=$APPLIANCE_MUST_RUN,TestAFloodOnSynapse,TestATransactionThatSynapseHoldsBack \
	"$stage/suite.sh" ./bridge -timeout 40m -run "^Test($both|AFlood)"
part "the bridge with a Synapse that it knows nothing of"
APPLIANCE_TEST_HOMESERVER=generic "$stage/suite.sh" ./bridge -timeout 20m -run '^Test(AConversationInARoom|ADirectMessageFromMatrix|Feature(Edits$|Deletes|Reactions|Files$|Typing$|Receipts|DirectRedactions|Departures|KicksAndBans|ChannelsByAlias))'

# A storm over the whole stack, while what follows runs: both wait much more than they work. On a
# slow machine they do not, and to the scheduler all containers together may be worth as much as one
# process outside: the tests give way, so that the storm's homeserver is not minutes behind.
running=false
[ -f .demo/summary.json ] && running=true
# Whoever ends this before its time is not left with services that restart for ever.
ended() { # status
	[ "$1" -lt 128 ] || $running || bin/demo -appliance bin/appliance down || true
	cleanup
}
trap 'ended "$?"' EXIT
trap 'exit 143' TERM
storm=
blow=(bin/demo -seed 103 -rooms 50 -once)
if [ "${APPLIANCE_STORM:-10m}" != 0 ]; then # how long; 0 leaves it out
	part "the demo, and a storm of ${APPLIANCE_STORM:-10m} over it beside what follows"
	(unset APPLIANCE_AXE APPLIANCE_PARSERS && make --no-print-directory demo)
	"${blow[@]}" -for "${APPLIANCE_STORM:-10m}" chaos >"$cache/storm.log" 2>&1 &
	storm=$!
	trap 'status=$?; kill "$storm" 2>/dev/null || true; ended "$status"' EXIT
fi

part "the client and what versions differ in, as on a real server: rocketsim 7.2, 8.3 and 8.6"
REAL_VERSIONS="7.2 8.3" nice -n 10 compose/stage/real.sh '^(TestAConversationInARoom|TestADirectMessageFromRocketChat|TestFeature(Files$|CaptionEdits|ManyDeleted|NamesAndPictures|ReadOnly|KicksAndBans|Commands))'
REAL_VERSIONS=8.6 nice -n 10 compose/stage/real.sh '^(TestNothingIsLostWhenRocketChat|TestFeatureFiles$)' # the rest ran on it above

part "the bridge with a homeserver that does as the specification says, and nothing more"
APPLIANCE_TEST_HOMESERVER=hermetic-generic nice -n 10 "$stage/suite.sh" ./bridge -timeout 20m -run '^Test(AConversation|ADirect|ARoom|Direct|Feature|Members|Moderators|Room)'

part "the same promises under the race detector"
# Not the tests of how long hostile texts take, nor the comparison with the parsers, which runs above:
# the detector makes everything ten times slower. Nor does it look into SQLite: docs/testing.md.
race=(-race -gcflags=modernc.org/sqlite/lib=-race=false)
CGO_ENABLED=1 nice -n 10 go test "${race[@]}" -timeout 20m -skip '^TestHostile' ./bridge/queue/... ./bridge/relay/... ./bridge/config/... ./bridge/ids/... ./bridge/convert ./bridge/convert/internal/...
CGO_ENABLED=1 nice -n 10 "$stage/suite.sh" ./bridge "${race[@]}" -timeout 20m -run 'TestAConversation|TestADirect|TestARoom|TestTheConf'

if [ -n "$storm" ]; then
	part "the end of the storm"
	if ! wait "$storm"; then
		# What is lost, there twice, out of order or of another sender is a failure. What else differs may be
		# a fault of one of the two Dendrites, which is not ours to correct: as with the suites it is tried again.
		grep -q '^demo: error: seed .* lost 0, doubled 0, out of order 0, .* wrong sender 0,' "$cache/storm.log" ||
			die "the storm ended badly: $(tail -n 40 "$cache/storm.log")" "the demo is still up; its log is in $cache/storm.log, and docs/reliability.md says how to run it again"
		say "the storm ended badly, and is run once more, alone, for three minutes:"
		{ echo "the storm:" && tail -n 40 "$cache/storm.log"; } | tee -a "$unsteady" >&2
		cp "$cache/storm.log" "$cache/storm-first.log"
		if ! $running; then
			bin/demo -appliance bin/appliance down
			(unset APPLIANCE_AXE APPLIANCE_PARSERS && make --no-print-directory demo)
		fi
		"${blow[@]}" -for 3m chaos >"$cache/storm.log" 2>&1 || die "the storm ended badly twice: $(tail -n 40 "$cache/storm.log")" "the demo is still up; its logs are in $cache/storm.log and storm-first.log, and docs/reliability.md says how to run it again"
	fi
	trap 'ended "$?"' EXIT
	grep -A1 '^seed' "$cache/storm.log"
	$running || bin/demo -appliance bin/appliance down
fi

part "the demo, and what can be seen of it from outside"
unset APPLIANCE_AXE APPLIANCE_PARSERS # they are for the Go tests
make --no-print-directory demo
bin/demo check
bin/demo -messages "$messages" burst
bin/demo -messages "$messages" -kill bridge burst # the storm killed everything else
bin/demo secrets # while the logs are still those of all that
bin/demo -messages "$((messages / 2))" lose
"$stage/images.sh" next
bin/demo -messages 30 upgrade
bin/demo interrupt

part "certificates are renewed, and beside that a release is installed on a fresh Debian and removed from it"
bin/demo renew &
renewal=$!
nice -n 10 compose/stage/install.sh || { wait "$renewal" || true; exit 1; }
wait "$renewal"

part "the demo beside servers that others run, and after an upgrade from the previous release"
bin/demo attach
if [ "$(git rev-list --count HEAD 2>/dev/null || echo 0)" -gt 30 ]; then
	bin/demo -messages 30 release
else # `git fetch --unshallow` brings what it takes
	say "this checkout has no history: the upgrade from the previous release is left out"
fi
bin/appliance doctor --dir .demo/install
if ! $running; then
	bin/demo -appliance bin/appliance down
	say "the demo on Synapse"
	make --no-print-directory demo HOMESERVER=synapse
	bin/demo check
	bin/demo -messages 60 burst
	bin/demo -appliance bin/appliance down
fi
if [ -s "$unsteady" ]; then
	say "these failed once and passed when they ran again:"
	cat "$unsteady" >&2
fi
part "all tests passed"
